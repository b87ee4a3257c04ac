import { createServer } from 'node:http'
import type { Answer } from './answer.ts'
import { trackConnections } from './connections.ts'
import type { IncomingRequest } from './incoming-request.ts'

/** A bound port. */
export interface Listener {
  port: number
  /** Takes no new connections and resolves when the open requests are answered. */
  close(): Promise<void>
  /** Ends all connections, whatever they are at. */
  closeAll(): void
}

/** What is served: as the web has it, and as Node has it with less ado. */
export interface Served {
  handle(request: Request): Promise<Response>
  answer(request: IncomingRequest): Promise<Answer>
}

interface BunRuntime {
  serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Served['handle'] }): {
    port: number
    stop(closeActiveConnections?: boolean): Promise<void>
  }
}

/** Serves over HTTP on the runtime that it runs on. */
export function listen(served: Served, port: number, hostname: string): Promise<Listener> {
  const { Bun } = globalThis as { Bun?: BunRuntime }
  return Bun ? listenOnBun(Bun, served, port, hostname) : listenOnNode(served, port, hostname)
}

async function listenOnBun(bun: BunRuntime, served: Served, port: number, hostname: string): Promise<Listener> {
  // Bun's own idle timeout would cut streams that think for long; the gateway has keep-alives and timeouts of its own.
  const server = bun.serve({ port, hostname, idleTimeout: 0, fetch: (request) => served.handle(request) })
  return { port: server.port, close: () => server.stop(), closeAll: () => void server.stop(true) }
}

async function listenOnNode(served: Served, port: number, hostname: string): Promise<Listener> {
  const { nodeListener } = await import('./node-listener.ts')
  const server = createServer(nodeListener((request) => served.answer(request)))
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
