import { LRUCache } from 'lru-cache'
import { parseJSON } from '../json.ts'
import { toJSONText, withSource } from '../source.ts'
import { type EventLog, EventsGoneError, type ReadOptions } from './event-log.ts'

export interface MemoryEventLogOptions {
  /** How long a log is kept after its last event. Default 3600: an hour. */
  ttlSeconds?: number
  /** How many events of one log are kept; the oldest go first. Default 10 000. */
  maxEvents?: number
  /** How many bytes all logs take as JSON; the least recently used log goes first. Default 64 MiB. */
  maxBytes?: number
}

/** A log. Its events are texts, so that no later change of an object reaches it. */
interface Log {
  /** The number of the oldest event that is kept. */
  first: number
  texts: string[]
  bytes: number
  ended: boolean
  /** Settled, and replaced, when something happens. */
  news: PromiseWithResolvers<void>
}

/** Logs in this process's memory: gone with it, and unknown to every other replica. */
export class MemoryEventLog implements EventLog {
  readonly #logs: LRUCache<string, Log>
  readonly #maxEvents: number
  readonly #maxBytes: number

  constructor({ ttlSeconds = 3600, maxEvents = 10_000, maxBytes = 64 * 1024 * 1024 }: MemoryEventLogOptions = {}) {
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#logs = new LRUCache({
      ttl: Math.ceil(ttlSeconds * 1000),
      maxSize: maxBytes,
      noDisposeOnSet: true,
      dispose: ({ news }) => news.resolve(),
    })
  }

  async append(
    key: string,
    at: number,
    events: readonly object[],
    { end = false }: { end?: boolean } = {},
  ): Promise<boolean> {
    const log = this.#logs.get(key) ?? { first: 0, texts: [], bytes: 0, ended: false, news: Promise.withResolvers() }
    if (log.ended || at !== log.first + log.texts.length) return false
    for (const text of events.map(toJSONText)) {
      log.texts.push(text)
      log.bytes += Buffer.byteLength(text)
    }
    while (log.texts.length > this.#maxEvents || (log.bytes > this.#maxBytes && log.texts.length > 0)) {
      log.bytes -= Buffer.byteLength(log.texts.shift() ?? '')
      log.first += 1
    }
    // Another object: of one that it has, the cache does not look at the size again.
    const grown = { ...log, ended: end, news: Promise.withResolvers<void>() }
    this.#logs.set(key, grown, { size: Math.max(1, Buffer.byteLength(key) + log.bytes) })
    log.news.resolve()
    return true
  }

  async *read(key: string, from: number, { idleMs, signal }: ReadOptions): AsyncGenerator<readonly object[]> {
    for (let next = from; ; ) {
      signal?.throwIfAborted()
      const log = this.#logs.get(key)
      if (!log || next < log.first) throw new EventsGoneError('these events are not kept any more', log?.first)
      const texts = batchOf(log.texts, next - log.first)
      if (texts.length > 0) {
        next += texts.length
        yield texts.map((text) => withSource(parseJSON(text) as object, text))
      } else if (log.ended) return
      else if (!(await happens(log.news.promise, idleMs, signal))) yield []
    }
  }

  async delete(key: string): Promise<boolean> {
    return this.#logs.delete(key)
  }
}

/** Characters that are read at a time: what is parsed waits in the memory of a slow reader. */
const batchSize = 64 * 1024

function batchOf(texts: readonly string[], from: number): readonly string[] {
  let to = from
  for (let size = 0; to < texts.length && size < batchSize; to++) size += texts[to]?.length ?? 0
  return texts.slice(from, to)
}

/** Whether the news come in time. */
async function happens(news: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, ms, false)
  const wake = (): void => resolve(true)
  signal?.addEventListener('abort', wake, { once: true })
  news.then(wake)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', wake)
  }
}
