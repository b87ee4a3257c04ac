import { promptOf } from '../responses/native-request.ts'
import { toChatUsage } from '../responses/response-usage.ts'
import type {
  CallOptions,
  ChatCompletionChunk,
  ChatRequest,
  LLMClient,
  ProviderEvent,
  ProviderRequest,
  ResponsesAPI,
  Usage,
} from '../types.ts'
import { GatewayError } from './errors.ts'
import { simulateStream } from './simulated-stream.ts'
import type { Prompt } from './usage.ts'

/** Where the pieces of a streamed answer come from, and what is to be read of them. */
export interface AnswerSource<Piece> {
  readonly prompt: Prompt
  stream(call: CallOptions): AsyncIterator<Piece>
  /** Where else they come from when that fails at once. */
  otherwise?(error: unknown, call: CallOptions): AsyncIterator<Piece> | undefined
  usageIn(piece: Piece): Usage | null | undefined
  /** Providers send about one token in a piece. */
  hasToken(piece: Piece): boolean
}

/** Usage is always asked for. */
export function chatSource(
  client: LLMClient,
  asked: ChatRequest,
  chunkChars: number,
): AnswerSource<ChatCompletionChunk> {
  const request = { ...asked, stream_options: { ...asked.stream_options, include_usage: true } }
  return {
    prompt: asked,
    stream: (call) => client.stream(request, call)[Symbol.asyncIterator](),
    otherwise(error, call) {
      const cannotStream = error instanceof GatewayError && error.kind === 'unsupported'
      return cannotStream ? simulateStream(client, request, call, chunkChars) : undefined
    },
    usageIn: ({ usage }) => usage,
    hasToken: () => true,
  }
}

export const nativeSource = (api: ResponsesAPI, request: ProviderRequest): AnswerSource<ProviderEvent> => ({
  prompt: promptOf(request),
  stream: (call) => api.stream(request, call)[Symbol.asyncIterator](),
  usageIn: ({ response }) =>
    typeof response === 'object' && response && 'usage' in response ? toChatUsage(response.usage) : undefined,
  hasToken: ({ type }) => type.endsWith('.delta'),
})
