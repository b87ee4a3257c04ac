import { unlessAborted } from '../agent/unless-aborted.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseMaker } from '../responses/response-maker.ts'
import type { ResponseRecord } from '../responses/response-records.ts'
import type { ResponseEvent, ResponseObject, StoredItem } from '../responses/response-types.ts'
import type { CallOptions } from '../types.ts'
import { type ChunkStream, isClientClosed } from './chunk-stream.ts'
import { chunksUntilAborted } from './chunks-until-aborted.ts'
import type { ServerContext } from './context.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { KeptResponse, notStored } from './kept-response.ts'
import type { Basis } from './response-basis.ts'

/** What a run makes, and what is kept with it. */
export interface RunPlan<Chunk> {
  builder: ResponseMaker<Chunk>
  input: StoredItem[]
  basis: Basis
  isStored: boolean
  isBackground: boolean
  /** It goes on when its client leaves, as all do that are made in the background. */
  isDetached: boolean
}

/**
 * The making of one response, event by event. What is stored is stored before anybody sees it: an event before it is handed on,
 * and the response before its last event.
 */
export class ResponseRun<Chunk> {
  readonly builder: ResponseMaker<Chunk>
  /** For the calls of this run. */
  readonly call: CallOptions
  readonly #plan: RunPlan<Chunk>
  readonly #exchange: Exchange
  readonly #kept: KeptResponse
  readonly #controller = new AbortController()
  #isCancelled = false

  constructor(plan: RunPlan<Chunk>, exchange: Exchange, context: ServerContext) {
    this.builder = plan.builder
    this.#plan = plan
    this.#exchange = exchange
    const { id } = plan.builder
    const onSuperseded = (reason: GatewayError): void => this.abort(reason)
    this.#kept = new KeptResponse({ id, isStored: plan.isStored, onSuperseded }, exchange, context)
    this.call = plan.isDetached ? { ...exchange.call, signal: this.#controller.signal } : exchange.call
    // Who has left may never ask for the next event, nor say so.
    const { signal } = this.call
    if (signal?.aborted) this.release()
    else signal?.addEventListener('abort', () => this.release(), { once: true })
  }

  /** It goes on when its client leaves. */
  get isDetached(): boolean {
    return this.#plan.isDetached
  }

  /** Lets others go on from where this one began. What it would add after that is refused. A second time does nothing. */
  release(): void {
    this.#plan.basis.release()
  }

  /** Ends it for a reason that those who wait are told. */
  abort(reason: unknown): void {
    if (this.#plan.isDetached) this.#controller.abort(reason)
    else this.#exchange.abort(reason)
  }

  /** Ends it as cancelled. */
  cancel(): void {
    this.#isCancelled = true
    this.abort(new GatewayError('client_closed', 'the response was cancelled'))
  }

  /**
   * Makes sure, before anything is paid for, that there is a store for it.
   *
   * @throws GatewayError `store_unavailable`
   */
  claim(): Promise<void> {
    return this.#kept.beat()
  }

  /** Stores the response as it begins, so that it can be asked for. @throws GatewayError `store_unavailable` */
  async begin(): Promise<void> {
    await this.#kept.begin(this.#record)
    if (!this.#plan.isBackground) return
    await this.#kept.keep(this.builder.queue())
    // Nobody could wait for it.
    if (!this.#kept.isLogged) {
      throw new GatewayError('store_unavailable', 'the response cannot be stored', { retryAfter: 1 })
    }
  }

  /** Without anybody who asks for the events. */
  async finish(opening: Promise<ChunkStream<Chunk>>): Promise<void> {
    const events = this.#made(opening)
    while (!(await events.next()).done);
  }

  /** All events, to the last. Who stops asking for them, or never begins, cancels the response. */
  events(opening: Promise<ChunkStream<Chunk>>): AsyncIterator<ResponseEvent> {
    const made = this.#made(opening)
    let isBegun = false
    const next = (): Promise<IteratorResult<ResponseEvent>> => {
      isBegun = true
      return made.next()
    }
    return {
      next,
      async return() {
        // A generator that has not begun would end without a word.
        if (!isBegun) await next()
        return made.return(undefined)
      },
    }
  }

  /** Adds what was said to what the response builds on, and stores the response. */
  async settle(): Promise<void> {
    const { response } = this.builder
    if (isTurn(response)) {
      await this.#plan.basis.add([...this.#plan.input, ...response.output]).catch((error: unknown) => {
        this.#exchange.warn('the conversation could not be saved: it may not hold this response', error)
      })
    }
    await this.#kept.save(this.#record)
  }

  async *#made(opening: Promise<ChunkStream<Chunk>>): AsyncGenerator<ResponseEvent> {
    const { builder } = this
    let chunks: ChunkStream<Chunk> | undefined
    this.#kept.live()
    try {
      yield* await this.#kept.keep(builder.start())
      if (this.#plan.isBackground) await this.#kept.save(this.#record)
      chunks = await unlessAborted(this.call.signal, () => opening)
      for await (const chunk of chunksUntilAborted(chunks, this.call.signal)) {
        chunks.note(chunk)
        yield* await this.#kept.keep(builder.add(chunk))
      }
      const ending = await this.#conclude(builder.finish())
      if (builder.failure) chunks.fail(builder.failure)
      else chunks.finish()
      yield* ending
    } catch (error) {
      yield* await this.#broken(error, chunks, opening)
    } finally {
      this.#kept.stop()
      // Whatever goes wrong here, others are to go on.
      await this.#cancelled().finally(() => this.release())
    }
  }

  /** Nobody asks for more, unless it is over anyway. */
  async #cancelled(): Promise<void> {
    try {
      await this.#conclude(this.builder.cancel())
    } catch (error) {
      if (!(error instanceof GatewayError)) this.#exchange.warn(notStored, error)
    }
  }

  async #broken(
    error: unknown,
    chunks: ChunkStream<Chunk> | undefined,
    opening: Promise<ChunkStream<Chunk>>,
  ): Promise<ResponseEvent[]> {
    const failure = chunks ? chunks.fail(error) : this.#abandon(error, opening)
    if (this.#kept.isSuperseded) return [numbered(errorEvent(failure), this.builder.sequence)]
    const isCancelled = this.#isCancelled || isClientClosed(failure)
    return this.#conclude(isCancelled ? this.builder.cancel() : this.builder.fail(failure))
  }

  /** Gives up what has not answered yet, and may never. */
  #abandon(error: unknown, opening: Promise<ChunkStream<Chunk>>): GatewayError {
    const note = (): void => this.#exchange.made(this.#exchange.noteFailure(error))
    this.abort(error)
    opening.then((late) => {
      late.fail(error)
      late.return().catch(() => {})
    }, note)
    return toGatewayError(error, this.#exchange.requestId)
  }

  /** The last event comes after the response itself: who has seen it may go on from there, on any replica. */
  async #conclude(events: ResponseEvent[]): Promise<ResponseEvent[]> {
    if (events.length === 0 || this.#kept.isSuperseded) return events
    await this.#kept.claimEnd()
    await this.#kept.keep(events.slice(0, -1))
    await this.settle()
    await this.#kept.keep(events.slice(-1), true)
    return events
  }

  get #record(): ResponseRecord {
    const { input, basis } = this.#plan
    const { thread, block } = basis
    return { response: this.builder.response, input, thread, ...(block ? { block } : {}) }
  }
}

/** What a content filter cut off is left out: providers would refuse all turns after it. */
const isTurn = ({ status, incomplete_details }: ResponseObject): boolean =>
  status === 'completed' || (status === 'incomplete' && incomplete_details?.reason === 'max_output_tokens')
