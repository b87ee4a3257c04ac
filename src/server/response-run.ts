import { bounded } from '../agent/bounded.ts'
import { unlessAborted } from '../agent/unless-aborted.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseMaker } from '../responses/response-maker.ts'
import { heartbeatMs } from '../responses/response-records.ts'
import type { ResponseEvent, ResponseObject, StoredItem } from '../responses/response-types.ts'
import { withSource } from '../source.ts'
import type { CallOptions } from '../types.ts'
import { type ChunkStream, isClientClosed } from './chunk-stream.ts'
import type { ServerContext } from './context.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import type { Basis } from './response-basis.ts'

/** What a run makes, and what is kept with it. */
export interface RunPlan<Chunk> {
  builder: ResponseMaker<Chunk>
  input: StoredItem[]
  basis: Basis
  userId: string | null
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
  readonly #context: ServerContext
  readonly #controller = new AbortController()
  readonly #key: string
  #isLogged = false
  #isCancelled = false
  /** The store was lost when it mattered: the response is delivered, but not stored. */
  #isUnkept = false
  /** It is this run that ends the response: nobody else may any more. */
  #ends = false
  /** Somebody else has ended this response, or deleted it: nothing more of it may be kept. */
  #isSuperseded = false

  constructor(plan: RunPlan<Chunk>, exchange: Exchange, context: ServerContext) {
    this.builder = plan.builder
    this.#plan = plan
    this.#exchange = exchange
    this.#context = context
    this.#key = eventsKey(plan.userId, plan.builder.id)
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
  async claim(): Promise<void> {
    const { isStored, userId } = this.#plan
    if (isStored) await this.#context.responses.beat(userId, this.builder.id)
  }

  /** Stores the response as it begins, so that it can be asked for. @throws GatewayError `store_unavailable` */
  async begin(): Promise<void> {
    const { isStored, isBackground, userId } = this.#plan
    if (!isStored) return
    await Promise.all([this.#context.responses.beat(userId, this.builder.id), this.#save()])
    this.#isLogged = true
    if (!isBackground) return
    await this.#keep(this.builder.queue())
    // Nobody could wait for it.
    if (!this.#isLogged) throw new GatewayError('store_unavailable', 'the response cannot be stored', { retryAfter: 1 })
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

  /** Adds what was said to what the response builds on, and stores the response. Both as {@link saveOrWarn}. */
  async settle(): Promise<void> {
    const { response } = this.builder
    if (isTurn(response)) {
      await this.#plan.basis.add([...this.#plan.input, ...response.output]).catch((error: unknown) => {
        this.#exchange.warn('the conversation could not be saved: it may not hold this response', error)
      })
    }
    await this.saveOrWarn()
  }

  /** Stores the response as it is. It has been paid for: it is delivered even if it cannot be kept. */
  async saveOrWarn(): Promise<void> {
    if (!this.#plan.isStored || this.#isUnkept) return
    await this.#save().catch((error: unknown) => this.#exchange.warn(notStored, error))
  }

  async *#made(opening: Promise<ChunkStream<Chunk>>): AsyncGenerator<ResponseEvent> {
    const { builder } = this
    const heartbeat = this.#plan.isStored ? setInterval(() => void this.#beat(), heartbeatMs) : undefined
    heartbeat?.unref()
    let chunks: ChunkStream<Chunk> | undefined
    try {
      yield* await this.#keep(builder.start())
      if (this.#plan.isBackground) await this.saveOrWarn()
      chunks = await unlessAborted(this.call.signal, () => opening)
      for await (const chunk of this.#chunksOf(chunks)) {
        chunks.note(chunk)
        yield* await this.#keep(builder.add(chunk))
      }
      const ending = await this.#conclude(builder.finish())
      if (builder.failure) chunks.fail(builder.failure)
      else chunks.finish()
      yield* ending
    } catch (error) {
      yield* await this.#broken(error, chunks, opening)
    } finally {
      clearInterval(heartbeat)
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

  /** What is read is left behind when the run is aborted, whether the client heeds that or not. */
  async *#chunksOf(chunks: ChunkStream<Chunk>): AsyncGenerator<Chunk> {
    const { signal } = this.call
    try {
      let next = await unlessAborted(signal, () => chunks.first)
      while (!next.done) {
        yield next.value
        next = await unlessAborted(signal, () => chunks.next())
      }
    } finally {
      chunks.return().catch(() => {})
    }
  }

  async #broken(
    error: unknown,
    chunks: ChunkStream<Chunk> | undefined,
    opening: Promise<ChunkStream<Chunk>>,
  ): Promise<ResponseEvent[]> {
    const failure = chunks ? chunks.fail(error) : this.#abandon(error, opening)
    if (this.#isSuperseded) return [numbered(errorEvent(failure), this.builder.sequence)]
    const isCancelled = this.#isCancelled || isClientClosed(failure)
    return this.#conclude(isCancelled ? this.builder.cancel() : this.builder.fail(failure))
  }

  /** Gives up what has not answered yet, and may never. */
  #abandon(error: unknown, opening: Promise<ChunkStream<Chunk>>): GatewayError {
    const note = (): void => void this.#exchange.noteFailure(error)
    this.abort(error)
    opening.then((late) => {
      late.fail(error)
      late.return().catch(() => {})
    }, note)
    return toGatewayError(error, this.#exchange.requestId)
  }

  /** The last event comes after the response itself: who has seen it may go on from there, on any replica. */
  async #conclude(events: ResponseEvent[]): Promise<ResponseEvent[]> {
    if (events.length === 0 || this.#isSuperseded) return events
    await this.#claimEnd()
    await this.#keep(events.slice(0, -1))
    await this.settle()
    await this.#keep(events.slice(-1), true)
    return events
  }

  /** @throws GatewayError `response_interrupted` when somebody else has ended the response, or is about to */
  async #claimEnd(): Promise<void> {
    if (!this.#plan.isStored || this.#ends) return
    try {
      this.#ends = await this.#context.responses.claimEnd(this.#plan.userId, this.builder.id)
    } catch (error) {
      // Whoever else ends it meanwhile is not to be overwritten.
      this.#isLogged = false
      this.#isUnkept = true
      this.#exchange.warn(notStored, error)
      return
    }
    if (this.#ends) return
    this.#isSuperseded = true
    throw superseded()
  }

  #save(): Promise<void> {
    const { input, basis, userId } = this.#plan
    const { thread, block } = basis
    const record = { response: this.builder.response, input, thread, ...(block ? { block } : {}) }
    const { responses } = this.#context
    return this.#ends ? responses.saveEnd(userId, record) : responses.save(userId, record)
  }

  /** @throws GatewayError `response_interrupted` when somebody else has ended the response */
  async #keep(events: ResponseEvent[], end = false): Promise<ResponseEvent[]> {
    const [first] = events
    if (!first || !this.#isLogged) return events
    // Written once, for the log and for the client.
    for (const event of events) withSource(event, JSON.stringify(event))
    const { eventLog, loaderTimeoutMs } = this.#context
    try {
      const append = () => eventLog.append(this.#key, first.sequence_number, events, { end })
      const isKept = await bounded(loaderTimeoutMs, append)
      if (!isKept && !this.#ends && (await this.#isClaimed())) this.#isSuperseded = true
      else if (!isKept) this.#stopLogging(undefined)
    } catch (error) {
      this.#stopLogging(error)
    }
    if (this.#isSuperseded) throw superseded()
    return events
  }

  /** An event left out would be a gap: none comes after it. */
  #stopLogging(cause: unknown): void {
    this.#isLogged = false
    this.#exchange.warn('the events of this response could not be kept: it cannot be resumed', cause)
  }

  async #beat(): Promise<void> {
    const { responses } = this.#context
    try {
      if (this.#ends) return
      if (!(await this.#isClaimed())) await responses.beat(this.#plan.userId, this.builder.id)
      else if (!this.#ends) {
        this.#isSuperseded = true
        this.abort(superseded())
      }
    } catch {
      // The store may be back before this response is taken for dead.
    }
  }

  #isClaimed(): Promise<boolean> {
    return this.#context.responses.isClaimed(this.#plan.userId, this.builder.id)
  }
}

const notStored = 'the response could not be stored: it cannot be retrieved or continued'

/** What a content filter cut off is left out: providers would refuse all turns after it. */
const isTurn = ({ status, incomplete_details }: ResponseObject): boolean =>
  status === 'completed' || (status === 'incomplete' && incomplete_details?.reason === 'max_output_tokens')

const superseded = (): GatewayError =>
  new GatewayError('response_interrupted', 'this response was ended or deleted by another request')
