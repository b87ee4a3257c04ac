import { createRequire } from 'node:module'
import type * as Undici from 'undici'

/**
 * What is used of undici, by its files. All of it, with `fetch`, caches, mocks and web sockets, takes 15 MB. And Bun answers its name
 * with a stand-in of its own, which has no `dispatch`.
 */
const load = createRequire(import.meta.url)

export const Pool: typeof Undici.Pool = load('undici/lib/dispatcher/pool.js')
export const Agent: typeof Undici.Agent = load('undici/lib/dispatcher/agent.js')

/**
 * Of all connections. HTTP/1.1, one request on each, so a stalled stream holds up nobody else's; and no clocks, since every call has
 * its own. `connect`: milliseconds.
 */
export const connectionOptions = (connect: number): Undici.Pool.Options => ({
  connect: { timeout: connect },
  allowH2: false,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
})
