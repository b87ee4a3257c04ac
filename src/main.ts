#!/usr/bin/env node
import './v8-flags.ts'
import './tick-shape.ts'
import './stop-while-starting.ts'
import { parseArgs } from 'node:util'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { collectGarbage } from './collect-garbage.ts'
import { ConfigError } from './config/config-error.ts'
import { ConfigSource } from './config/config-source.ts'
import { milliseconds } from './config/duration.ts'
import type { LoadedConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { watchFiles } from './config/watch.ts'
import { environment } from './env.ts'
import type { Extension } from './extension.ts'
import { loadExtension } from './load-extension.ts'
import { unknownParts } from './router/configured-agents.ts'
import { configuredModels } from './router/configured-models.ts'
import { loggable } from './server/errors.ts'
import { started } from './stop-while-starting.ts'
import { ownVersion } from './version.ts'

const usage = `Usage: signalbox [options]

  --config <file>   configuration (default: $SIGNALBOX_CONFIG, then ./signalbox.yaml, then none)
  --check-config    validate the configuration and exit
  --help            show this text
  --version         show the version
`

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      config: { type: 'string' },
      'check-config': { type: 'boolean' },
      help: { type: 'boolean' },
      version: { type: 'boolean' },
    },
  })
  if (flags.help) {
    process.stdout.write(usage)
    return
  }
  if (flags.version) {
    process.stdout.write(`${ownVersion()}\n`)
    return
  }
  const source = new ConfigSource({ file: flags.config, env: environment() })
  const loaded = await source.load()
  const { extensions } = loaded.config
  const extension = extensions === undefined ? {} : await loadExtension(extensions)
  checkTogether(loaded, extension)
  if (flags['check-config']) {
    process.stdout.write(`${loaded.file ?? 'the default configuration'} is valid\n`)
    end(0)
  }
  const load = async (): Promise<Config> => {
    const again = await source.load()
    checkTogether(again, extension)
    return again.config
  }
  const app = await buildApp({ config: loaded.config, extension, load })
  reloadOnChange(app, source)
  closeOnSignal(app, loaded.config.server, extensions !== undefined)
  collectGarbage()
  const { host, port } = loaded.config.server
  await app.listen({ host, port, listenTextResolver: greeting })
  announce(app, loaded, extension)
}

/** What neither the configuration nor its extension can say alone. */
function checkTogether({ config, file }: LoadedConfig, extension: Extension): void {
  const problems = [...unknownParts(config.agents, extension)]
  if (config.auth && extension.auth) problems.push('auth: the extension has an auth of its own; leave out auth.keys')
  if (problems.length === 0) {
    try {
      void configuredModels(config, extension).close()
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error))
    }
  }
  if (problems.length > 0) throw new ConfigError(file ?? 'the default configuration', problems)
}

const greeting = (address: string): string =>
  `Signalbox is running at ${address}: point an OpenAI SDK at baseURL ${address}/v1`

/** What is running, and what to do next, in plain words. */
function announce(app: FastifyInstance, { config, file }: LoadedConfig, extension: Extension): void {
  const { log } = app
  const models = app.modelRouter.list().map(({ model }) => model)
  log.info(`Configuration: ${file ?? 'none; the defaults and the environment'}. Models: ${models.join(', ')}`)
  if (Object.keys(config.providers).length === 0) {
    log.warn(
      'No provider is configured, so only the local stand-in demo/echo answers. To add one, set its key, for example ' +
        'OPENAI_API_KEY, and start again; or list providers in signalbox.yaml (see README.md)',
    )
  }
  if (!config.auth && !extension.auth && !config.admin.enabled)
    log.warn(
      'No API keys are configured (auth.keys), so anyone who can reach this address may use it, web pages in a browser included',
    )
}

/** Events that end nothing here. */
const ours = ['beforeExit', 'SIGHUP'] as const

/** A change of a file, or SIGHUP, reloads the configuration. */
function reloadOnChange(app: FastifyInstance, source: ConfigSource): void {
  const reload = () => app.liveConfig.reload()
  const watching = watchFiles({ files: () => source.files, onChange: reload })
  process.on('SIGHUP', reload)
  app.addHook('onClose', async () => watching.close())
}

/** SIGTERM drains the app; SIGINT (a person) does so without the delay; a second signal ends the process at once. */
function closeOnSignal(app: FastifyInstance, { drainDelay }: Config['server'], isExtended: boolean): void {
  // A promise that an extension left behind is no reason to end everybody's requests.
  if (isExtended) {
    process.on('unhandledRejection', (error) => app.log.error({ error: loggable(error) }, 'a promise failed unheard'))
  }
  const skip = [...ours, ...(isExtended ? (['unhandledRejection'] as const) : [])]
  closeWithGrace({ delay: false, logger: app.log, skip }, async ({ signal, err }) => {
    if (err) app.log.fatal({ error: loggable(err) }, 'the gateway failed')
    await app.drain(signal === 'SIGTERM' ? milliseconds(drainDelay) : 0)
  })
  started()
}

/** At once: an extension may have opened what would keep the process alive. */
function end(code: number): never {
  process.exit(code)
}

try {
  await main()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
  process.stderr.write(`${message}${inUse ? '; stop what runs there, or set PORT' : ''}\n`)
  end(1)
}
