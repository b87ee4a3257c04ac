#!/usr/bin/env node
import { parseArgs } from 'node:util'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { type LoadedConfig, loadConfig } from './config/load.ts'
import { type Config, milliseconds } from './config/schema.ts'
import { environment } from './env.ts'
import { loggable } from './server/errors.ts'

const usage = `Usage: signalbox [options]

  --config <file>   configuration (default: $SIGNALBOX_CONFIG, then ./signalbox.yaml, then none)
  --check-config    validate the configuration and exit
  --help            show this text
`

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { config: { type: 'string' }, 'check-config': { type: 'boolean' }, help: { type: 'boolean' } },
  })
  if (flags.help) {
    process.stdout.write(usage)
    return
  }
  const loaded = await loadConfig({ file: flags.config, env: environment() })
  if (flags['check-config']) {
    process.stdout.write(`${loaded.file ?? 'the default configuration'} is valid\n`)
    return
  }
  const app = await buildApp({ config: loaded.config })
  closeOnSignal(app, loaded.config.server)
  const { host, port } = loaded.config.server
  await app.listen({ host, port, listenTextResolver: greeting })
  announce(app, loaded)
}

const greeting = (address: string): string =>
  `Signalbox is running at ${address}: point an OpenAI SDK at baseURL ${address}/v1`

/** What is running, and what to do next, in plain words. */
function announce(app: FastifyInstance, { config, file }: LoadedConfig): void {
  const { log } = app
  const models = app.modelRouter.list().map(({ model }) => model)
  log.info(`Configuration: ${file ?? 'none; the defaults and the environment'}. Models: ${models.join(', ')}`)
  if (Object.keys(config.providers).length === 0) {
    log.warn(
      'No provider is configured, so only the local stand-in demo/echo answers. To add one, set its key, for example ' +
        'OPENAI_API_KEY, and start again; or list providers in signalbox.yaml (see README.md)',
    )
  }
  if (!config.auth)
    log.warn(
      'No API keys are configured (auth.keys), so anyone who can reach this address may use it, web pages in a browser included',
    )
}

/** SIGTERM drains the app; SIGINT (a person) does so without the delay; a second signal ends the process at once. */
function closeOnSignal(app: FastifyInstance, { drainDelay }: Config['server']): void {
  closeWithGrace({ delay: false, logger: app.log, skip: ['beforeExit'] }, async ({ signal, err }) => {
    if (err) app.log.fatal({ error: loggable(err) }, 'the gateway failed')
    await app.drain(signal === 'SIGTERM' ? milliseconds(drainDelay) : 0)
  })
}

try {
  await main()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
  process.stderr.write(`${message}${inUse ? '; stop what runs there, or set PORT' : ''}\n`)
  process.exitCode = 1
}
