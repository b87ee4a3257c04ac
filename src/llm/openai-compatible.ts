import type { GatewayError } from '../server/errors.ts'
import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbeddingRequest,
  EmbeddingResponse,
  LLMClient,
  ResponsesAPI,
} from '../types.ts'
import { ChunkReader } from './chunk-reader.ts'
import { postForEvents, postJSON } from './post.ts'
import { ProviderResponses } from './provider-responses.ts'
import { Transport, type TransportOptions } from './transport.ts'
import { streamErrorEvent } from './upstream-errors.ts'

export interface OpenAICompatibleOptions extends TransportOptions {
  provider: string
  /** The model's name at the provider; `*` takes the request's. */
  model: string
  /** False for a provider that refuses `stream_options` and sends usage unasked. Default true. */
  streamOptions?: boolean
  /** `native` for a provider that speaks the Responses API itself. Default `translated`. */
  responses?: ResponsesMode
}

/** How a provider is asked for Responses. */
export type ResponsesMode = 'native' | 'translated'

/** A client for any provider that speaks OpenAI's format: nothing is translated, only `model` is rewritten. */
export class OpenAICompatibleClient implements LLMClient {
  readonly provider: string
  readonly model: string
  readonly responses: ResponsesAPI | undefined
  readonly #transport: Transport
  readonly #streamOptions: boolean

  constructor(options: OpenAICompatibleOptions) {
    this.provider = options.provider
    this.model = options.model
    this.#transport = new Transport(options)
    this.responses = options.responses === 'native' ? new ProviderResponses(this.#transport, options.model) : undefined
    this.#streamOptions = options.streamOptions ?? true
  }

  complete(request: ChatRequest, call?: CallOptions): Promise<ChatCompletion> {
    call?.onAsk?.(request)
    return this.#postJSON<ChatCompletion>('/chat/completions', request.stream ? whole(request) : request, call)
  }

  embed(request: EmbeddingRequest, call?: CallOptions): Promise<EmbeddingResponse> {
    return this.#postJSON<EmbeddingResponse>('/embeddings', request, call)
  }

  stream(request: ChatRequest, call?: CallOptions): AsyncIterable<ChatCompletionChunk> {
    call?.onAsk?.(request)
    const { stream_options, ...withoutOptions } = request
    const asked = this.#streamOptions || !stream_options ? request : (withoutOptions as ChatRequest)
    const body = this.#body(asked.stream ? asked : { ...asked, stream: true })
    return postForEvents(this.#transport, '/chat/completions', body, (...ends) => new ChunkReader(...ends), call)
  }

  close(): Promise<void> {
    return this.#transport.close()
  }

  #body(request: ChatRequest | EmbeddingRequest): object {
    return this.model === '*' ? request : { ...request, model: this.model }
  }

  /** What the provider answers is taken at its word: the gateway passes it on and reads little of it. */
  #postJSON<Answer>(path: string, request: ChatRequest | EmbeddingRequest, call?: CallOptions): Promise<Answer> {
    return postJSON(this.#transport, path, this.#body(request), faultIn, call) as Promise<Answer>
  }
}

/** Some providers (OpenRouter) answer 200 with an error in the body. */
const faultIn = ({ error, choices }: Record<string, unknown>): GatewayError | undefined =>
  error && !choices ? streamErrorEvent(error) : undefined

function whole({ stream: _stream, stream_options: _options, ...request }: ChatRequest): ChatRequest {
  return request as ChatRequest
}
