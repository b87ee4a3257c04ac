import fp from 'fastify-plugin'
import { dropStalledWrites } from '../src/server/write-stalls.ts'

export interface WriteTimeoutOptions {
  /** How long a client may read nothing of what waits for it, in milliseconds. Default 300 000. */
  timeoutMs?: number
}

/** Drops clients that do not read their answers; they would hold memory, and a provider's stream, for as long as they stay connected. */
export const writeTimeout = fp<WriteTimeoutOptions>(
  async (app, { timeoutMs = 300_000 }) => {
    const stop = dropStalledWrites(app.server, timeoutMs, (stall) => app.hooks.emit('onWriteStall', stall))
    app.addHook('onClose', async () => stop())
  },
  { name: 'signalbox-write-timeout', dependencies: ['signalbox-hooks'] },
)
