import type { GatewayError } from '../server/errors.ts'
import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbeddingRequest,
  EmbeddingResponse,
  LLMClient,
} from '../types.ts'
import { malformed, parseAnswer } from './answer.ts'
import { AsyncQueue } from './async-queue.ts'
import type { Call } from './call.ts'
import { ChunkReader } from './chunk-reader.ts'
import { decodeEvents } from './event-stream.ts'
import { Transport, type TransportOptions } from './transport.ts'
import { streamErrorEvent } from './upstream-errors.ts'

export interface OpenAICompatibleOptions extends TransportOptions {
  provider: string
  /** The model's name at the provider; `*` takes the request's. */
  model: string
  /** False for a provider that refuses `stream_options` and sends usage unasked. Default true. */
  streamOptions?: boolean
}

/** Bytes. A batch of embeddings is long; what is longer would fill the gateway's memory. */
const longestAnswer = 128 * 1024 * 1024

/** A client for any provider that speaks OpenAI's format: nothing is translated, only `model` is rewritten. */
export class OpenAICompatibleClient implements LLMClient {
  readonly provider: string
  readonly model: string
  readonly #transport: Transport
  readonly #streamOptions: boolean

  constructor(options: OpenAICompatibleOptions) {
    this.provider = options.provider
    this.model = options.model
    this.#transport = new Transport(options)
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
    let upstream: Call | undefined
    const queue = new AsyncQueue<ChatCompletionChunk>({
      pause: () => upstream?.pause(),
      resume: () => upstream?.resume(),
      cancel: () => upstream?.cancel(),
    })
    const end = (error?: GatewayError): void => {
      queue.end(error)
      if (error) upstream?.cancel()
      else upstream?.endSoon()
    }
    const events = new ChunkReader(queue, end)
    const overflow = (): void => end(malformed('the upstream provider sent an event without an end'))
    const decode = decodeEvents((data, name) => events.read(data, name), overflow)
    const listener = {
      onData(chunk: Buffer): void {
        events.see(chunk)
        decode(chunk)
      },
      onEnd: () => events.end(),
      onError: (error: GatewayError) => queue.end(error),
    }
    upstream = this.#transport.post('/chat/completions', body, true, listener, call)
    return queue
  }

  close(): Promise<void> {
    return this.#transport.close()
  }

  #body(request: ChatRequest | EmbeddingRequest): string {
    return JSON.stringify(this.model === '*' ? request : { ...request, model: this.model })
  }

  /** What the provider answers is taken at its word: the gateway passes it on and reads little of it. */
  #postJSON<Answer>(path: string, request: ChatRequest | EmbeddingRequest, call?: CallOptions): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      const onEnd = (): void => {
        const answer = parseAnswer(Buffer.concat(chunks).toString('utf8'))
        // Some providers (OpenRouter) answer 200 with an error in the body.
        if (answer?.error && !answer.choices) reject(streamErrorEvent(answer.error))
        else if (answer) resolve(answer as Answer)
        else reject(malformed('the upstream provider answered something that is not a JSON object'))
      }
      let size = 0
      const onData = (chunk: Buffer): void => {
        size += chunk.length
        chunks.push(chunk)
        if (size > longestAnswer) upstream.fail(malformed('the upstream provider sent an answer without an end'))
      }
      const body = this.#body(request)
      const upstream = this.#transport.post(path, body, false, { onData, onEnd, onError: reject }, call)
    })
  }
}

function whole({ stream: _stream, stream_options: _options, ...request }: ChatRequest): ChatRequest {
  return request as ChatRequest
}
