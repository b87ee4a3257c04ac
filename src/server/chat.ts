import { sumUsage } from '../agent/usage-sum.ts'
import type { CompletionUsage } from '../hooks/events.ts'
import { sourceOf, withSource } from '../source.ts'
import type { ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { readJSON } from './body.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { dispatch } from './dispatch.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { asChatRequest } from './request-schema.ts'
import { simulateStream } from './simulated-stream.ts'
import { EventStream } from './sse.ts'
import { estimateUsage } from './usage.ts'

/** `POST /v1/chat/completions` */
export const createChatCompletion: Endpoint = async (exchange, context) => {
  const body = asChatRequest(await readJSON(exchange.request, context.limits))
  const { client, request } = await dispatch(exchange, context, body)
  if (body.stream) return streamCompletion(exchange, context, client, request)

  try {
    const completion = await client.complete(request, exchange.call)
    exchange.usage = completion.usage
    exchange.complete()
    return exchange.json(200, completion)
  } catch (error) {
    if (isClientClosed(error) || exchange.bill.usages.length > 0) recordPartial(exchange, body, 0, error)
    throw error
  }
}

async function streamCompletion(
  exchange: Exchange,
  { keepAliveMs, streamChunkChars }: ServerContext,
  client: LLMClient,
  asked: ChatRequest,
): Promise<Response> {
  exchange.stream = true
  const wantsUsage = asked.stream_options?.include_usage === true
  const request: ChatRequest = { ...asked, stream_options: { ...asked.stream_options, include_usage: true } }
  let chunks: AsyncIterator<ChatCompletionChunk> | undefined
  let received = 0

  // Until the first chunk, or the first keep-alive, a failure can still be told by its status.
  const begin = async (): Promise<IteratorResult<ChatCompletionChunk>> => {
    try {
      chunks = client.stream(request, exchange.call)[Symbol.asyncIterator]()
      return await chunks.next()
    } catch (error) {
      if (!(error instanceof GatewayError) || error.kind !== 'unsupported') throw error
      chunks = simulateStream(client, request, exchange.call, streamChunkChars)
      return chunks.next()
    }
  }
  const firstChunk = begin()
  // It may fail before anybody reads the stream that waits for it.
  firstChunk.catch(() => {})
  const first = await within(keepAliveMs, firstChunk).catch((error: unknown) => {
    if (isClientClosed(error) || exchange.bill.usages.length > 0) recordPartial(exchange, asked, 0, error)
    throw error
  })

  // Where they come from is settled only when the first one is here.
  const end = Promise.resolve({ done: true, value: undefined } as const)
  const items: AsyncIterator<ChatCompletionChunk> = {
    next: () => chunks?.next() ?? end,
    return: () => chunks?.return?.() ?? end,
  }

  return exchange.eventStream(
    new EventStream(items, {
      first: first ?? firstChunk,
      keepAliveNow: !first,
      keepAliveMs,
      encode(chunk) {
        if (received++ === 0) exchange.firstTokenMs = exchange.elapsed()
        if (chunk.usage) exchange.usage = chunk.usage
        return wantsUsage ? chunk : withoutUnaskedUsage(chunk)
      },
      onDone() {
        // What a guardrail broke off has not been counted.
        if (!exchange.usage && exchange.stopped) exchange.usage = estimateUsage(asked, received)
        exchange.complete()
        exchange.end(200, 'ok')
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError(error) {
        if (received > 0 || isClientClosed(error) || exchange.bill.usages.length > 0)
          recordPartial(exchange, asked, received, error)
        const failure = exchange.noteFailure(error)
        exchange.end(200, isClientClosed(failure) ? 'client_closed' : 'stream_error', failure.code ?? undefined)
        return failure.toBody()
      },
      onCancel(reason) {
        exchange.abort(reason)
        recordPartial(exchange, asked, received)
        exchange.end(200, 'client_closed', 'client_closed')
      },
    }),
  )
}

const isClientClosed = (error: unknown): boolean => error instanceof GatewayError && error.kind === 'client_closed'

/** An answer that broke off was paid for all the same: what arrived of it is counted. */
function recordPartial(exchange: Exchange, request: ChatRequest, received: number, error?: unknown): void {
  if (exchange.ended) return
  exchange.usage ??= partialUsage(exchange, request, received, error === undefined || isClientClosed(error))
  exchange.complete()
}

/** Of a run of several calls, those that are over are known, and one that was open when its client left is estimated. */
function partialUsage(
  { bill, askedTarget }: Exchange,
  request: ChatRequest,
  received: number,
  isLeft: boolean,
): CompletionUsage {
  const known = sumUsage(bill.usages)
  const rest = Math.max(0, received - (known?.completion_tokens ?? 0))
  if (known && (!bill.open || (!isLeft && rest === 0))) return { ...known, estimated: true }
  const last = estimateUsage(bill.open ?? request, rest)
  if (bill.usages.length === 0) return last
  if (askedTarget) bill.add(last, askedTarget)
  return { ...(sumUsage([known, last]) ?? last), estimated: true }
}

/** The gateway asked for usage on its own account: what a client that did not ask would not have seen is taken out. */
function withoutUnaskedUsage(chunk: ChatCompletionChunk): object | undefined {
  if (chunk.usage === undefined) return chunk
  if (chunk.usage === null) {
    const text = textWithoutUsage(sourceOf(chunk))
    if (text !== undefined) return withSource({}, text)
    const { usage: _usage, ...rest } = chunk
    return rest
  }
  if (chunk.choices?.length !== 0) return chunk
  const { usage: _usage, ...rest } = chunk
  return Object.keys(rest).every((field) => usageChunkFields.has(field)) ? undefined : rest
}

/**
 * Nearly every chunk goes this way, and is spared to be written anew. Where the name stands only once, it stands at the top;
 * within a text of JSON its quotes would be escaped.
 */
function textWithoutUsage(text: string | undefined): string | undefined {
  const at = text?.indexOf(unusedUsage) ?? -1
  if (text === undefined || at === -1) return undefined
  const isOnly = text.indexOf('"usage"') === at + 1 && text.indexOf('"usage"', at + unusedUsage.length) === -1
  return isOnly ? text.slice(0, at) + text.slice(at + unusedUsage.length) : undefined
}

const unusedUsage = ',"usage":null'

/** Of a chunk that is there for its usage only; with anything else in it, it says more than that. */
const usageChunkFields = new Set(['id', 'object', 'created', 'model', 'service_tier', 'system_fingerprint', 'choices'])

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
