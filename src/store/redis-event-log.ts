import { setTimeout as sleep } from 'node:timers/promises'
import { parseJSON } from '../json.ts'
import { toJSONText, withSource } from '../source.ts'
import { type EventLog, EventsGoneError, type ReadOptions } from './event-log.ts'
import type { RedisConnection } from './redis-connection.ts'
import { redisKey } from './redis-key.ts'

export interface RedisEventLogOptions {
  /** How long a log is kept after its last event. Default 3600: an hour. */
  ttlSeconds?: number
  /** How many events of one log are kept; the oldest go first. Default 10 000. */
  maxEvents?: number
}

/** Milliseconds between two looks at a log. No blocking read, which would take the connection from everybody else. */
const pollMs = 50

/** Events that are read at a time: what is parsed waits in the memory of a slow reader. */
const batchSize = 100

/** The entry behind the last event. */
const endId = '2-0'

/** Logs as Redis Streams, for all who are connected: event `n` is the entry `1-n`, and the end of a log an entry behind them. */
export class RedisEventLog implements EventLog {
  readonly #connection: RedisConnection
  readonly #ttlMs: number
  readonly #maxEvents: number

  constructor(connection: RedisConnection, { ttlSeconds = 3600, maxEvents = 10_000 }: RedisEventLogOptions = {}) {
    this.#connection = connection
    this.#ttlMs = Math.ceil(ttlSeconds * 1000)
    this.#maxEvents = maxEvents
  }

  /** @throws StoreUnavailable when it may not have been written */
  async append(
    key: string,
    at: number,
    events: readonly object[],
    { end = false }: { end?: boolean } = {},
  ): Promise<boolean> {
    const texts = events.map(toJSONText)
    const written = await this.#connection.run((redis) =>
      redis.signalboxAppend(redisKey('events', key), at, this.#ttlMs, this.#maxEvents, end ? 1 : 0, ...texts),
    )
    return written === 1
  }

  /** @throws StoreUnavailable */
  async *read(key: string, from: number, { idleMs, signal }: ReadOptions): AsyncGenerator<readonly object[]> {
    let quietSince = performance.now()
    for (let next = from; ; ) {
      signal?.throwIfAborted()
      const found = await this.#connection.run((redis) => redis.signalboxRead(redisKey('events', key), next, batchSize))
      const [firstId, entries] = found ?? []
      if (!firstId || !entries || (firstId !== endId && numberOf(firstId) > next)) {
        const first = firstId && firstId !== endId ? numberOf(firstId) : undefined
        throw new EventsGoneError('these events are not kept any more', first)
      }
      const texts = entries.flatMap(([id, [, text]]) => (id === endId ? [] : [text]))
      if (texts.length > 0) {
        next += texts.length
        yield texts.map((text) => withSource(parseJSON(text) as object, text))
        quietSince = performance.now()
      }
      if (entries.at(-1)?.[0] === endId) return
      if (texts.length > 0) continue
      const left = quietSince + idleMs - performance.now()
      if (left <= 0) {
        yield []
        quietSince = performance.now()
      }
      await sleep(Math.min(pollMs, Math.max(left, 1)), undefined, signal ? { signal } : {}).catch(() => {})
    }
  }

  /** @throws StoreUnavailable when it may not have been deleted */
  async delete(key: string): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.unlink(redisKey('events', key)))) > 0
  }
}

const numberOf = (id: string): number => Number(id.slice(id.indexOf('-') + 1))
