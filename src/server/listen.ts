/** A bound port. */
export interface Listener {
  port: number
  /** Takes no new connections and resolves when the open requests are answered. */
  close(): Promise<void>
}

type Handler = (request: Request) => Promise<Response>

interface BunRuntime {
  serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Handler }): {
    port: number
    stop(): Promise<void>
  }
}

/** Serves a handler over HTTP on the runtime that it runs on. */
export async function listen(handler: Handler, port: number, hostname: string): Promise<Listener> {
  const { Bun } = globalThis as { Bun?: BunRuntime }
  if (Bun) {
    // Bun's own idle timeout would cut streams that think for long; the gateway has keep-alives and timeouts of its own.
    const server = Bun.serve({ port, hostname, idleTimeout: 0, fetch: handler })
    return { port: server.port, close: () => server.stop() }
  }
  const { createAdaptorServer } = await import('@hono/node-server')
  const server = createAdaptorServer({ fetch: handler, hostname })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, hostname, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : port,
    close: () => new Promise((resolve, reject) => server.close((error) => (error ? reject(error) : resolve()))),
  }
}
