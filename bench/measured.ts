import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** What a measured process tells of itself. */
export interface Reading {
  /** Microseconds since its start. */
  cpu: number
  /** Bytes of memory that the system counts. */
  rss: number
  /** Bytes that are alive in the heap and beside it, after a garbage collection. */
  live: number
}

/** Listens on a free port, tells the bench which, and answers every message with a {@link Reading}. */
export async function serveMeasured(app: FastifyInstance): Promise<void> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  process.on('message', (wanted) => {
    const { user, system } = process.cpuUsage()
    if (wanted === 'memory') collectGarbage()
    const { rss, heapUsed, external } = process.memoryUsage()
    process.send?.({ cpu: user + system, rss, live: heapUsed + external } satisfies Reading)
  })
  process.on('disconnect', () => process.exit())
  const address = app.server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
}
