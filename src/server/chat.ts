import type { ChatRequest, LLMClient } from '../types.ts'
import type { Answer } from './answer.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import { streamDetached } from './completion-run.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { dispatch } from './dispatch.ts'
import type { Exchange } from './exchange.ts'
import { ofChat } from './expected-usage.ts'
import { KeptCompletion } from './kept-completion.ts'
import { asChatRequest } from './request-schema.ts'
import { reserve } from './reserve.ts'
import { isResumable } from './resumable.ts'
import { EventStream } from './sse.ts'
import { withoutUnaskedUsage } from './unasked-usage.ts'

/** `POST /v1/chat/completions` */
export const createChatCompletion: Endpoint = async (exchange, context) => {
  const body = asChatRequest(await readJSON(exchange, context.limits))
  const found = dispatch(exchange, context, body)
  const { client, request } = found instanceof Promise ? await found : found
  const reserved = reserve(exchange, context, { client, model: request.model, expected: () => ofChat(request) })
  if (reserved) await reserved
  const isDetached = body.stream === true && isResumable(exchange)
  const kept = body.store || isDetached ? await KeptCompletion.claim(exchange, context, body) : undefined
  if (kept && isDetached) return streamDetached(exchange, context, client, request, kept)
  if (body.stream) return streamCompletion(exchange, context, client, request, kept)

  try {
    const completion = await client.complete(request, exchange.call)
    exchange.usage = completion.usage
    const answer = kept ? await kept.whole(completion) : completion
    exchange.complete()
    return exchange.json(200, answer)
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
  kept: KeptCompletion | undefined,
): Promise<Answer> {
  exchange.stream = true
  const wantsUsage = asked.stream_options?.include_usage === true
  const chunks = await ChunkStream.open(exchange, context, client, asked)
  const items = kept?.streamed(chunks, exchange.call) ?? chunks
  return exchange.eventStream(
    new EventStream(items, {
      first: items.first,
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
