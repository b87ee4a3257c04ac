import { bounded } from '../agent/bounded.ts'
import { heartbeatMs } from '../responses/response-records.ts'
import { withSource } from '../source.ts'
import type { CallOptions, ChatRequest, LLMClient } from '../types.ts'
import type { Answer } from './answer.ts'
import { ChunkStream } from './chunk-stream.ts'
import { chunksUntilAborted } from './chunks-until-aborted.ts'
import { begun, type CompletionEvent, done, firstId, isError } from './completion-events.ts'
import { eventsOfCompletion } from './completion-follow.ts'
import type { ServerContext } from './context.ts'
import { Detached, tied } from './detached.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import type { KeptCompletion } from './kept-completion.ts'
import { resumeHeader } from './resumable.ts'
import { EventStream } from './sse.ts'
import { withoutUnaskedUsage } from './unasked-usage.ts'

/** Streams a completion that is made whether or not its client stays, and can be followed by its id. */
export async function streamDetached(
  exchange: Exchange,
  context: ServerContext,
  client: LLMClient,
  asked: ChatRequest,
  kept: KeptCompletion,
): Promise<Answer> {
  exchange.stream = true
  const run = new CompletionRun(kept, exchange, context)
  await run.begin()
  const untie = tied(run, exchange.call)
  const chunks = await ChunkStream.open(exchange, context, client, asked, run.call).finally(untie)
  const events = new Detached(run.events(chunks, asked), (from) =>
    eventsOfCompletion(exchange, context, kept.id, firstId + from),
  )
  context.backgroundRuns.add(run.key, run, events.over)
  exchange.outlivedBy(events.over)
  exchange.addHeader(resumeHeader, `/v1/chat/completions/${kept.id}`)
  return exchange.eventStream(
    new EventStream(events, {
      numbered: { firstId, isLast: isError },
      keepAliveNow: chunks.isLate,
      keepAliveMs: context.keepAliveMs,
      encode: (event) => event,
      onDone() {
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError: (error) => toGatewayError(error, exchange.requestId).toBody(),
      onCancel(reason) {
        if (events.isBehind) exchange.abort(reason)
        exchange.end(200, 'client_closed', 'client_closed')
      },
    }),
  )
}

/** The making of one completion, event by event. Each is in the log before it is handed on. */
class CompletionRun {
  /** For the calls of this run. */
  readonly call: CallOptions
  /** Where its events are. */
  readonly key: string
  readonly #kept: KeptCompletion
  readonly #exchange: Exchange
  readonly #context: ServerContext
  readonly #controller = new AbortController()
  #heartbeat: ReturnType<typeof setInterval> | undefined
  #nextId = 0
  #isLogged = true

  constructor(kept: KeptCompletion, exchange: Exchange, context: ServerContext) {
    this.key = eventsKey(exchange.userId, kept.id)
    this.call = { ...exchange.call, signal: this.#controller.signal }
    this.#kept = kept
    this.#exchange = exchange
    this.#context = context
  }

  /** Ends it for a reason that those who wait are told. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  cancel(): void {
    this.abort(new GatewayError('client_closed', 'the completion was cancelled'))
  }

  /** Opens the log, before anything is paid for. @throws GatewayError `store_unavailable` */
  async begin(): Promise<void> {
    try {
      await this.#append([begun], false)
    } catch (cause) {
      throw new GatewayError('store_unavailable', 'the events of this completion cannot be kept', {
        cause,
        retryAfter: 1,
      })
    }
  }

  /** All events but `[DONE]`, which is told by their end. */
  async *events(chunks: ChunkStream, asked: ChatRequest): AsyncGenerator<CompletionEvent> {
    const wantsUsage = asked.stream_options?.include_usage === true
    this.#heartbeat = setInterval(() => void this.#kept.beat().catch(() => {}), heartbeatMs)
    this.#heartbeat.unref()
    try {
      for await (const chunk of chunksUntilAborted(this.#kept.streamed(chunks, this.call), this.call.signal)) {
        chunks.note(chunk)
        const event = wantsUsage ? chunk : withoutUnaskedUsage(chunk)
        if (event) yield await this.#keep(event)
      }
      chunks.finish()
      await this.#keep(done, true)
    } catch (error) {
      const failure = chunks.fail(error)
      const told = failure.toBody()
      // A body that does not look like an error, of somebody's own, would not be known as the last.
      yield await this.#keep(isError(told) ? told : new GatewayError(failure.kind, failure.message).toBody(), true)
    } finally {
      clearInterval(this.#heartbeat)
    }
  }

  async #keep(event: CompletionEvent, end = false): Promise<CompletionEvent> {
    if (!this.#isLogged) return event
    // Written once, for the log and for the client.
    const written = withSource({ ...event }, JSON.stringify(event))
    try {
      if (!(await this.#append([written], end))) this.#stopLogging(undefined)
    } catch (error) {
      this.#stopLogging(error)
    }
    return written
  }

  async #append(events: CompletionEvent[], end: boolean): Promise<boolean> {
    const { eventLog, loaderTimeoutMs } = this.#context
    const isKept = await bounded(loaderTimeoutMs, () => eventLog.append(this.key, this.#nextId, events, { end }))
    this.#nextId += events.length
    return isKept
  }

  /** An event left out would be a gap: none comes after it. Without signs of life, who follows is not left to wait. */
  #stopLogging(cause: unknown): void {
    this.#isLogged = false
    clearInterval(this.#heartbeat)
    this.#exchange.warn('the events of this completion could not be kept: it cannot be resumed', cause)
  }
}
