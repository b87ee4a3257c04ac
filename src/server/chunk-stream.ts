import { sumUsage } from '../agent/usage-sum.ts'
import type { CompletionUsage } from '../hooks/events.ts'
import type { CallOptions, ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { type AnswerSource, chatSource } from './answer-source.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { estimateUsage, type Prompt } from './usage.ts'

type Timing = Pick<ServerContext, 'keepAliveMs' | 'streamChunkChars'>

const end = { done: true, value: undefined } as const

/** The chunks of one answer on their way to its client, and what the exchange is to know of them. */
export class ChunkStream<Chunk = ChatCompletionChunk> implements AsyncIterator<Chunk> {
  /** The first chunk, or the wait for it. */
  readonly first: Promise<IteratorResult<Chunk>>
  /** The first chunk has not come before the first keep-alive was due. */
  isLate = false
  readonly #exchange: Exchange
  readonly #source: AnswerSource<Chunk>
  #chunks: AsyncIterator<Chunk> | undefined
  #received = 0
  #reported = false

  private constructor(exchange: Exchange, source: AnswerSource<Chunk>, call: CallOptions) {
    this.#exchange = exchange
    this.#source = source
    this.first = this.#begin(call)
    // It may fail before anybody reads the stream that waits for it.
    this.first.catch(() => {})
  }

  /**
   * Resolves with the first chunk, or with the first keep-alive: until then, a failure can still be told by its status.
   *
   * @param call Default: that of the exchange, which ends when its client leaves.
   */
  static open(
    exchange: Exchange,
    timing: Timing,
    client: LLMClient,
    asked: ChatRequest,
    call = exchange.call,
  ): Promise<ChunkStream> {
    return ChunkStream.from(exchange, timing, chatSource(client, asked, timing.streamChunkChars), call)
  }

  /** As {@link open}, of any source. */
  static async from<Chunk>(
    exchange: Exchange,
    { keepAliveMs }: Pick<Timing, 'keepAliveMs'>,
    source: AnswerSource<Chunk>,
    call = exchange.call,
  ): Promise<ChunkStream<Chunk>> {
    const stream = new ChunkStream(exchange, source, call)
    try {
      stream.isLate = !(await within(keepAliveMs, stream.first))
      exchange.isAhead ||= stream.isLate
      return stream
    } catch (error) {
      if (isPaid(exchange, error)) stream.#reportPartial(error)
      throw error
    }
  }

  /** Those after the first. */
  next(): Promise<IteratorResult<Chunk>> {
    // Where they come from is settled only when the first one is here.
    return this.#chunks?.next() ?? Promise.resolve(end)
  }

  return(): Promise<IteratorResult<Chunk>> {
    return this.#chunks?.return?.() ?? Promise.resolve(end)
  }

  /** Takes note of a chunk that is being sent. */
  note(chunk: Chunk): void {
    if (this.#source.hasToken(chunk) && this.#received++ === 0) this.#exchange.firstTokenMs = this.#exchange.elapsed()
    const usage = this.#source.usageIn(chunk)
    if (usage) this.#exchange.usage = usage
  }

  /** The answer is whole. */
  finish(): void {
    const exchange = this.#exchange
    // What a guardrail broke off has not been counted.
    if (!exchange.usage && exchange.stopped) exchange.usage = estimateUsage(this.#source.prompt, this.#received)
    this.#report()
    exchange.made()
  }

  /** The answer broke off. Returns what the client is told. */
  fail(error: unknown): GatewayError {
    if (this.#received > 0 || this.#exchange.usage || isPaid(this.#exchange, error)) this.#reportPartial(error)
    const failure = this.#exchange.noteFailure(error)
    this.#exchange.made(failure)
    return failure
  }

  /** The client has gone. */
  leave(reason: unknown): void {
    this.#exchange.abort(reason)
    this.#reportPartial()
    this.#exchange.end(200, 'client_closed', 'client_closed')
  }

  async #begin(call: CallOptions): Promise<IteratorResult<Chunk>> {
    try {
      this.#chunks = this.#source.stream(call)
      return await this.#chunks.next()
    } catch (error) {
      const other = this.#source.otherwise?.(error, call)
      if (!other) throw error
      this.#chunks = other
      return other.next()
    }
  }

  #report(): void {
    if (this.#reported) return
    this.#reported = true
    this.#exchange.complete()
  }

  #reportPartial(error?: unknown): void {
    if (!this.#reported)
      this.#exchange.usage ??= partialUsage(this.#exchange, this.#source.prompt, this.#received, error)
    this.#report()
  }
}

export const isClientClosed = (error: unknown): boolean =>
  error instanceof GatewayError && error.kind === 'client_closed'

/** A step of the run is over, or its client has left while the provider was at work. */
const isPaid = ({ bill }: Exchange, error: unknown): boolean => isClientClosed(error) || bill.usages.length > 0

/** A whole answer that failed may have been paid for all the same: what is known of it is counted. */
export function reportPartial(exchange: Exchange, request: Prompt, error: unknown): void {
  if (!exchange.usage && !isPaid(exchange, error)) return
  exchange.usage ??= partialUsage(exchange, request, 0, error)
  exchange.complete()
}

/** Of a run of several calls, those that are over are known, and one that was open when its client left is estimated. */
function partialUsage(
  { bill, askedTarget }: Exchange,
  request: Prompt,
  received: number,
  error: unknown,
): CompletionUsage {
  const known = sumUsage(bill.usages)
  const rest = Math.max(0, received - (known?.completion_tokens ?? 0))
  const isLeft = error === undefined || isClientClosed(error)
  if (known && (!bill.open || (!isLeft && rest === 0))) return { ...known, estimated: true }
  const last = estimateUsage(bill.open ?? request, rest)
  if (bill.usages.length === 0) return last
  if (askedTarget) bill.add(last, askedTarget)
  return { ...(sumUsage([known, last]) ?? last), estimated: true }
}

/** The promise's value, or undefined when it takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
