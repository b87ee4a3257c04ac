import type { FastifyInstance } from 'fastify'

/** What a measured process tells of itself. CPU in microseconds since its start, memory in bytes. */
export interface Reading {
  cpu: number
  rss: number
}

/** Listens on a free port, tells the bench which, and answers every message with a {@link Reading}. */
export async function serveMeasured(app: FastifyInstance): Promise<void> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.({ cpu: user + system, rss: process.memoryUsage.rss() } satisfies Reading)
  })
  process.on('disconnect', () => process.exit())
  const address = app.server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
}
