import { createServer } from 'node:http'
import { trackConnections } from './connections.ts'

/** A bound port. */
export interface Listener {
  port: number
  /** Takes no new connections and resolves when the open requests are answered. */
  close(): Promise<void>
  /** Ends all connections, whatever they are at. */
  closeAll(): void
}

type Handler = (request: Request) => Promise<Response>

interface BunRuntime {
  serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Handler }): {
    port: number
    stop(closeActiveConnections?: boolean): Promise<void>
  }
}

/** Serves a handler over HTTP on the runtime that it runs on. */
export function listen(handler: Handler, port: number, hostname: string): Promise<Listener> {
  const { Bun } = globalThis as { Bun?: BunRuntime }
  return Bun ? listenOnBun(Bun, handler, port, hostname) : listenOnNode(handler, port, hostname)
}

async function listenOnBun(bun: BunRuntime, handler: Handler, port: number, hostname: string): Promise<Listener> {
  // Bun's own idle timeout would cut streams that think for long; the gateway has keep-alives and timeouts of its own.
  const server = bun.serve({ port, hostname, idleTimeout: 0, fetch: handler })
  return { port: server.port, close: () => server.stop(), closeAll: () => void server.stop(true) }
}

async function listenOnNode(handler: Handler, port: number, hostname: string): Promise<Listener> {
  const { nodeListener } = await import('./node-listener.ts')
  const server = createServer(nodeListener(handler, hostname))
  const connections = trackConnections(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, hostname, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : port,
    async close() {
      const stopSweeping = connections.sweep()
      await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())))
      stopSweeping()
    },
    closeAll: () => server.closeAllConnections(),
  }
}
