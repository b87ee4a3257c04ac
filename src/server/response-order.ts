import { isTranslatable } from '../responses/chat-messages.ts'
import { toChatRequest } from '../responses/chat-request.ts'
import { toChunk } from '../responses/completion-chunk.ts'
import { toProviderRequest } from '../responses/native-request.ts'
import { NativeResponse } from '../responses/native-response.ts'
import { ResponseBuilder } from '../responses/response-builder.ts'
import type { ResponseMaker } from '../responses/response-maker.ts'
import type { ResponseRequest, StoredItem } from '../responses/response-types.ts'
import { toChatUsage } from '../responses/response-usage.ts'
import { fitting } from '../responses/truncation.ts'
import type {
  CallOptions,
  ChatCompletionChunk,
  ChatRequest,
  LLMClient,
  ProviderEvent,
  ResponsesAPI,
  Usage,
} from '../types.ts'
import { type AnswerSource, chatSource, nativeSource } from './answer-source.ts'

/** What is asked for: a request, the items that it builds on, and its own. */
export interface Asked {
  /** The response's. */
  id: string
  body: ResponseRequest
  /** As the client knows it. */
  model: string
  earlier: readonly StoredItem[]
  input: readonly StoredItem[]
}

/** How a response is made. */
export interface Order<Chunk> {
  builder: ResponseMaker<Chunk>
  source: AnswerSource<Chunk>
  /** Makes all of it at once. */
  complete(call: CallOptions): Promise<Usage | undefined>
}

/** By a provider that speaks the API itself. */
export function nativeOrder(api: ResponsesAPI, { id, body, model, earlier, input }: Asked): Order<ProviderEvent> {
  const builder = new NativeResponse(body, { id })
  const request = toProviderRequest({ ...body, model }, earlier, input)
  return {
    builder,
    source: nativeSource(api, request),
    async complete(call) {
      const answer = await api.create(request, call)
      builder.take(answer)
      return toChatUsage(answer.usage)
    },
  }
}

export interface TranslationOptions {
  /** Tokens; undefined where it is not known. */
  contextWindow: number | undefined
  /** Characters, of what a client without real streaming answers. */
  chunkChars: number
  onWarning(warning: string): void
}

/**
 * By a client that answers chat completions.
 *
 * @throws GatewayError `unsupported` or `invalid_request` for what cannot be translated
 */
export function translatedOrder(
  client: LLMClient,
  { id, body, model, earlier, input }: Asked,
  { contextWindow, chunkChars, onWarning }: TranslationOptions,
): Order<ChatCompletionChunk> {
  const builder = new ResponseBuilder(body, { id })
  const items = [...translatable(earlier, onWarning), ...input]
  // What is wrong with the request is told of the request as it came.
  if (body.truncation === 'auto') toChatRequest(body, items)
  const request: ChatRequest = { ...toChatRequest(body, fitting(body, items, contextWindow), onWarning), model }
  return {
    builder,
    source: chatSource(client, request, chunkChars),
    async complete(call) {
      const completion = await client.complete(request, call)
      builder.start()
      builder.add(toChunk(completion))
      builder.finish()
      return completion.usage
    },
  }
}

/** A thread may go on with a model that cannot be told of what the tools of another provider did: its text is there. */
function translatable(earlier: readonly StoredItem[], onWarning: (warning: string) => void): StoredItem[] {
  const kept = earlier.filter(isTranslatable)
  const left = new Set(earlier.filter((item) => !isTranslatable(item)).map(({ type }) => type))
  if (left.size > 0) onWarning(`this model cannot see earlier items of the type ${[...left].join(', ')}`)
  return kept
}
