#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { type LoadedConfig, loadConfig } from './config/load.ts'
import { type Config, milliseconds } from './config/schema.ts'
import { environment } from './env.ts'
import { configuredModels } from './router/configured-models.ts'

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
    await configuredModels(loaded.config).close()
    process.stdout.write(`${loaded.file ?? 'the default configuration'} is valid\n`)
    return
  }
  const app = await buildApp({ config: loaded.config })
  const { host, port } = loaded.config.server
  await app.listen({ host, port, listenTextResolver: greeting })
  announce(app, loaded)
  closeGracefully(app, loaded.config.server)
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
  if (!config.auth) log.warn('No API keys are configured (auth.keys), so anyone who can reach this address may use it')
}

/**
 * SIGTERM: readiness off; go on serving for `drainDelay`, until the cluster has noticed; stop listening; give open
 * requests `drainTimeout`; break off the rest, telling their clients. SIGINT (a person) skips the delay. A second signal
 * ends the process at once.
 */
function closeGracefully(app: FastifyInstance, server: Config['server']): void {
  const drainTimeout = milliseconds(server.drainTimeout)
  closeWithGrace({ delay: false, logger: app.log, skip: ['beforeExit'] }, async ({ signal, err }) => {
    if (err) app.log.fatal({ err }, 'the gateway failed')
    const open = app.oaiServer.openRequests
    app.log.info({ signal, openRequests: open }, 'Shutting down: readiness is off, open requests may finish')
    app.readiness.drain()
    if (signal === 'SIGTERM') await sleep(milliseconds(server.drainDelay))
    const breakOff = setTimeout(() => {
      app.log.warn({ openRequests: app.oaiServer.openRequests }, 'The drain timeout is over: breaking off what is open')
      app.oaiServer.abortOpenRequests()
      setTimeout(() => app.server.closeAllConnections(), 1000).unref()
    }, drainTimeout)
    await app.close()
    clearTimeout(breakOff)
    app.log.info('Signalbox has stopped')
  })
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
