import { sourceOf, withSource } from '../source.ts'
import type { ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { dispatch } from './dispatch.ts'
import type { Exchange } from './exchange.ts'
import { asChatRequest } from './request-schema.ts'
import { EventStream } from './sse.ts'

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
    reportPartial(exchange, body, error)
    throw error
  }
}

async function streamCompletion(
  exchange: Exchange,
  context: ServerContext,
  client: LLMClient,
  asked: ChatRequest,
): Promise<Response> {
  exchange.stream = true
  const wantsUsage = asked.stream_options?.include_usage === true
  const chunks = await ChunkStream.open(exchange, context, client, asked)
  return exchange.eventStream(
    new EventStream(chunks, {
      first: chunks.first,
      keepAliveNow: chunks.isLate,
      keepAliveMs: context.keepAliveMs,
      encode(chunk) {
        chunks.note(chunk)
        return wantsUsage ? chunk : withoutUnaskedUsage(chunk)
      },
      onDone() {
        chunks.finish()
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError: (error) => chunks.fail(error).toBody(),
      onCancel: (reason) => chunks.leave(reason),
    }),
  )
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
