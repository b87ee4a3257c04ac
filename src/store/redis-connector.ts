import { connect as connectTCP } from 'node:net'
import { connect as connectTLS } from 'node:tls'
import type { AbstractConnector, RedisOptions } from 'ioredis'

type Socket = Awaited<ReturnType<AbstractConnector['connect']>>
type ConnectorClass = new (options: unknown) => AbstractConnector
type ErrorListener = Parameters<AbstractConnector['connect']>[0]

/**
 * How ioredis opens connections, except that it hears only the first error of a socket: a second one, which TLS has when a
 * connection is given up in the middle of the handshake, would end the process.
 */
export function connectorsOf({
  AbstractConnector,
  SentinelConnector,
}: Pick<typeof import('ioredis'), 'AbstractConnector' | 'SentinelConnector'>): Record<
  'ServerConnector' | 'MasterConnector',
  ConnectorClass
> {
  class ServerConnector extends AbstractConnector {
    readonly #options: RedisOptions

    constructor(options: unknown) {
      const settings = options as RedisOptions
      super(settings.disconnectTimeout ?? 0)
      this.#options = settings
    }

    async connect(): Promise<Socket> {
      this.connecting = true
      const { host = 'localhost', port = 6379, tls } = this.#options
      const socket = tls ? connectTLS({ host, port, ...tls }) : connectTCP({ host, port })
      socket.on('error', (error) => {
        this.firstError ??= error
      })
      this.stream = socket
      return socket
    }
  }

  class MasterConnector extends SentinelConnector {
    constructor(options: unknown) {
      super(options as RedisOptions)
    }

    override async connect(onError: ErrorListener): Promise<Socket> {
      const socket = await super.connect(onError)
      return socket.on('error', () => {})
    }
  }

  return { ServerConnector, MasterConnector }
}
