import type { FastifyInstance } from 'fastify'
import OpenAI, { type ClientOptions } from 'openai'
import { pino } from 'pino'
import { stringify } from 'yaml'
import { buildApp } from '../src/app.ts'
import type { AuthPlugin } from '../src/auth/auth-plugin.ts'
import type { ReloadReport } from '../src/config/live-config.ts'
import { parseConfig } from '../src/config/load.ts'
import type { Config } from '../src/config/schema.ts'
import type { Extension } from '../src/extension.ts'
import type { HookBus } from '../src/hooks/hook-bus.ts'
import type { Json } from './upstream.ts'

/** The gateway's own key at the upstream: no client may ever see it. */
export const GATEWAY_KEY = 'sk-gateway-to-upstream'

/** The key that a client sends unless it says otherwise. */
export const CLIENT_KEY = 'sk-client-to-gateway'

export interface GatewayOptions {
  /**
   * Served as the provider `openai`, its models as `openai/*`, without retries and breaker: what a test makes of an answer is then
   * the one answer. Default: none, and so the demo model.
   */
  upstream?: { baseURL: string }
  /** Fields of that provider: `timeouts`, `headers`, `kind`; `retries: {}` and `breaker: {}` for those of the configuration's defaults. */
  provider?: Json
  /** Sections of `signalbox.yaml`. */
  config?: Partial<Record<keyof Config, Json>>
  /** What the module that `extensions:` names would export. */
  extension?: Extension
  auth?: AuthPlugin
}

/** The service, listening on a free port, configured as from a file. */
export interface Gateway {
  app: FastifyInstance
  hooks: HookBus
  /** `http://127.0.0.1:PORT` */
  url: string
  port: number
  /** Every log line so far. */
  logs: Json[]
  /** The lines written for requests that are over. */
  requestLines(): Json[]
  /** An official client that does not retry. */
  client(options?: ClientOptions): OpenAI
  /** A POST with a JSON body, or with the very text given. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>
  /** Puts another configuration in force, or tries to: sections in the place of those that it was started with. */
  reload(config: GatewayOptions['config']): Promise<ReloadReport>
  /** Breaks off what is open and stops. */
  close(): Promise<void>
}

/** Starts the service for one test, and stops it with the test. */
export async function startGateway(
  t: { teardown(close: () => Promise<void>): unknown },
  { upstream, provider, config = {}, extension, auth }: GatewayOptions = {},
): Promise<Gateway> {
  const alone = { retries: { max: 0 }, breaker: { enabled: false } }
  const providers = upstream && { openai: { baseURL: upstream.baseURL, apiKey: GATEWAY_KEY, ...alone, ...provider } }
  const extensions = extension && 'the extension of the test'
  const parse = (sections: GatewayOptions['config']): Config => {
    const text = stringify({
      ...(providers && { providers }),
      ...(extensions && { extensions }),
      ...config,
      ...sections,
    })
    return parseConfig(text, 'the configuration of the test', { PORT: '0', HOST: '127.0.0.1' })
  }
  const parsed = parse({})
  let next: GatewayOptions['config'] = {}
  const logs: Json[] = []
  const logger = pino({ level: parsed.server.logLevel }, { write: (line) => logs.push(JSON.parse(line)) })
  const app = await buildApp({
    config: parsed,
    load: async () => parse(next),
    logger,
    ...(extension && { extension }),
    ...(auth && { auth }),
  })
  const { host, port } = parsed.server
  const url = await app.listen({ host, port })

  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      app.oaiServer.abortOpenRequests()
      const closed = app.close()
      app.server.closeAllConnections()
      await closed
    })()
    return closing
  }
  t.teardown(close)

  return {
    app,
    hooks: app.hooks,
    url,
    port: Number(new URL(url).port),
    logs,
    requestLines: () => logs.filter(({ msg }) => msg === 'request'),
    client: (options) =>
      new OpenAI({ baseURL: `${url}/v1`, apiKey: CLIENT_KEY, maxRetries: 0, logLevel: 'off', ...options }),
    post: (path, body, init) =>
      fetch(url + path, {
        method: 'POST',
        body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
        ...init,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${CLIENT_KEY}`, ...init?.headers },
      }),
    reload(sections) {
      next = sections
      return app.liveConfig.reload()
    },
    close,
  }
}

/** The payloads of the `data:` lines in the text of an event stream, `[DONE]` included. */
export const dataOf = (stream: string): string[] =>
  stream.split('\n\n').flatMap((event) => (event.startsWith('data: ') ? [event.slice('data: '.length)] : []))
