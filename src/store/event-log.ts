/** Some of the events are not kept any more, or never were. */
export class EventsGoneError extends Error {
  override readonly name = 'EventsGoneError'
  /** The number of the oldest event that is kept, if any is. */
  readonly first: number | undefined

  constructor(message: string, first?: number) {
    super(message)
    this.first = first
  }
}

export interface ReadOptions {
  /** Says so, with an empty batch, whenever nothing has come for this long, in milliseconds; 0: at once. */
  idleMs: number
  /** Ends the reading with its reason. */
  signal?: AbortSignal | undefined
}

/**
 * Logs of numbered events by key, each written by one process while any others read along. A log is kept for some time after its
 * last event, and may lose its oldest events when it becomes too long.
 */
export interface EventLog {
  /**
   * Appends events, the first of which has the number `at`. Resolves when they can be read. `end`: no other will follow.
   *
   * False, and nothing is appended, unless the log has exactly the events before `at` and has not ended: somebody else has written
   * to it, or deleted it.
   */
  append(key: string, at: number, events: readonly object[], options?: { end?: boolean }): Promise<boolean>
  /**
   * The events from number `from` on, each exactly once, in order, in batches; those to come as well, until the log ends.
   *
   * @throws EventsGoneError when the log, or the beginning of what was asked for, is not there (any more)
   */
  read(key: string, from: number, options: ReadOptions): AsyncIterable<readonly object[]>
  /** True when there was a log. Its readers fail with an {@link EventsGoneError}. */
  delete(key: string): Promise<boolean>
}
