import { sumUsage } from '../agent/usage-sum.ts'
import type { CompletionUsage } from '../hooks/events.ts'
import type { CallOptions, ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { simulateStream } from './simulated-stream.ts'
import { estimateUsage } from './usage.ts'

type Next = IteratorResult<ChatCompletionChunk>
type Timing = Pick<ServerContext, 'keepAliveMs' | 'streamChunkChars'>

const end: Next = { done: true, value: undefined }

/** The chunks of one answer on their way to its client, and what the exchange is to know of them. Usage is always asked for. */
export class ChunkStream implements AsyncIterator<ChatCompletionChunk> {
  /** The first chunk, or the wait for it. */
  readonly first: Promise<Next>
  /** The first chunk has not come before the first keep-alive was due. */
  isLate = false
  readonly #exchange: Exchange
  readonly #asked: ChatRequest
  #chunks: AsyncIterator<ChatCompletionChunk> | undefined
  #received = 0
  #reported = false

  private constructor(exchange: Exchange, asked: ChatRequest, client: LLMClient, call: CallOptions, size: number) {
    this.#exchange = exchange
    this.#asked = asked
    this.first = this.#begin(client, call, size)
    // It may fail before anybody reads the stream that waits for it.
    this.first.catch(() => {})
  }

  /**
   * Resolves with the first chunk, or with the first keep-alive: until then, a failure can still be told by its status.
   *
   * @param call Default: that of the exchange, which ends when its client leaves.
   */
  static async open(
    exchange: Exchange,
    { keepAliveMs, streamChunkChars }: Timing,
    client: LLMClient,
    asked: ChatRequest,
    call = exchange.call,
  ): Promise<ChunkStream> {
    const stream = new ChunkStream(exchange, asked, client, call, streamChunkChars)
    try {
      stream.isLate = !(await within(keepAliveMs, stream.first))
      return stream
    } catch (error) {
      if (isPaid(exchange, error)) stream.#reportPartial(error)
      throw error
    }
  }

  /** Those after the first. */
  next(): Promise<Next> {
    // Where they come from is settled only when the first one is here.
    return this.#chunks?.next() ?? Promise.resolve(end)
  }

  return(): Promise<Next> {
    return this.#chunks?.return?.() ?? Promise.resolve(end)
  }

  /** Takes note of a chunk that is being sent. */
  note(chunk: ChatCompletionChunk): void {
    if (this.#received++ === 0) this.#exchange.firstTokenMs = this.#exchange.elapsed()
    if (chunk.usage) this.#exchange.usage = chunk.usage
  }

  /** The answer is whole. */
  finish(): void {
    const exchange = this.#exchange
    // What a guardrail broke off has not been counted.
    if (!exchange.usage && exchange.stopped) exchange.usage = estimateUsage(this.#asked, this.#received)
    this.#report()
    exchange.end(200, 'ok')
  }

  /** The answer broke off. Returns what the client is told. */
  fail(error: unknown): GatewayError {
    if (this.#received > 0 || isPaid(this.#exchange, error)) this.#reportPartial(error)
    const failure = this.#exchange.noteFailure(error)
    this.#exchange.end(200, isClientClosed(failure) ? 'client_closed' : 'stream_error', failure.code ?? undefined)
    return failure
  }

  /** The client has gone. */
  leave(reason: unknown): void {
    this.#exchange.abort(reason)
    this.#reportPartial()
    this.#exchange.end(200, 'client_closed', 'client_closed')
  }

  async #begin(client: LLMClient, call: CallOptions, size: number): Promise<Next> {
    const request = { ...this.#asked, stream_options: { ...this.#asked.stream_options, include_usage: true } }
    try {
      this.#chunks = client.stream(request, call)[Symbol.asyncIterator]()
      return await this.#chunks.next()
    } catch (error) {
      if (!(error instanceof GatewayError) || error.kind !== 'unsupported') throw error
      this.#chunks = simulateStream(client, request, call, size)
      return this.#chunks.next()
    }
  }

  #report(): void {
    if (this.#reported) return
    this.#reported = true
    this.#exchange.complete()
  }

  #reportPartial(error?: unknown): void {
    if (!this.#reported) this.#exchange.usage ??= partialUsage(this.#exchange, this.#asked, this.#received, error)
    this.#report()
  }
}

export const isClientClosed = (error: unknown): boolean =>
  error instanceof GatewayError && error.kind === 'client_closed'

/** A step of the run is over, or its client has left while the provider was at work. */
const isPaid = ({ bill }: Exchange, error: unknown): boolean => isClientClosed(error) || bill.usages.length > 0

/** A whole answer that failed may have been paid for all the same: what is known of it is counted. */
export function reportPartial(exchange: Exchange, request: ChatRequest, error: unknown): void {
  if (!isPaid(exchange, error)) return
  exchange.usage ??= partialUsage(exchange, request, 0, error)
  exchange.complete()
}

/** Of a run of several calls, those that are over are known, and one that was open when its client left is estimated. */
function partialUsage(
  { bill, askedTarget }: Exchange,
  request: ChatRequest,
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
