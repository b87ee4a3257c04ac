import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbeddingRequest,
  EmbeddingResponse,
  LLMClient,
  Timeouts,
} from '../types.ts'
import { toCompletion, toWarning, truncated } from './ai-sdk-answer.ts'
import { toEmbeddingResponse, valuesOf } from './ai-sdk-embeddings.ts'
import { sdkError } from './ai-sdk-errors.ts'
import { type SDKConnection, SDKTransport } from './ai-sdk-fetch.ts'
import { loadFactory, type SDKFactory, type SDKProvider, type SDKSettings } from './ai-sdk-provider.ts'
import { toSDKRequest } from './ai-sdk-request.ts'
import { ChunkWriter } from './ai-sdk-stream.ts'
import type { SDKPackage } from './providers.ts'

export interface AISDKOptions {
  provider: string
  /** The model's name at the provider; `*` takes the request's. */
  model: string
  /** The provider's row in the table: what `provider` is called there. */
  kind: string
  sdk: SDKPackage
  settings: SDKSettings
  timeouts?: Partial<Timeouts>
}

/** A client for a provider with a format of its own, through its package of the AI SDK. The package is loaded at the first call. */
export class AISDKClient implements LLMClient {
  readonly provider: string
  readonly model: string
  readonly #kind: string
  readonly #sdk: SDKPackage
  readonly #settings: SDKSettings
  readonly #transport: SDKTransport
  #factory: Promise<SDKFactory> | undefined

  constructor({ provider, model, kind, sdk, settings, timeouts }: AISDKOptions) {
    this.provider = provider
    this.model = model
    this.#kind = kind
    this.#sdk = sdk
    this.#settings = settings
    this.#transport = new SDKTransport(timeouts)
  }

  async complete(request: ChatRequest, call: CallOptions = {}): Promise<ChatCompletion> {
    const { options, warnings } = toSDKRequest(request, this.#kind)
    call.onAsk?.(request)
    const onWarning = announce(warnings, call)
    const model = this.#modelOf(request)
    try {
      const provider = await this.#open(this.#transport.open(call, false))
      const result = await provider.languageModel(model).doGenerate(options)
      for (const warning of result.warnings) onWarning(toWarning(warning, this.#kind))
      return toCompletion(result, model, onWarning)
    } catch (error) {
      throw sdkError(error)
    }
  }

  async *stream(request: ChatRequest, call: CallOptions = {}): AsyncGenerator<ChatCompletionChunk> {
    const { options, warnings } = toSDKRequest(request, this.#kind)
    call.onAsk?.(request)
    const onWarning = announce(warnings, call)
    const model = this.#modelOf(request)
    const includeUsage = request.stream_options?.include_usage === true
    const writer = new ChunkWriter({ model, kind: this.#kind, includeUsage, onWarning })
    const connection = this.#transport.open(call, true)
    let whole = false
    try {
      const provider = await this.#open(connection)
      const { stream } = await provider.languageModel(model).doStream(options)
      const reader = stream.getReader()
      while (!whole) {
        const { done, value } = await reader.read()
        if (done) throw truncated()
        const chunks = writer.read(value)
        if (chunks.length > 0) connection.piece()
        whole = value.type === 'finish'
        if (whole) connection.endSoon()
        yield* chunks
      }
    } catch (error) {
      throw sdkError(error)
    } finally {
      if (!whole) connection.cancel()
    }
  }

  async embed(request: EmbeddingRequest, call: CallOptions = {}): Promise<EmbeddingResponse> {
    const values = valuesOf(request)
    const model = this.#modelOf(request)
    try {
      const provider = await this.#open(this.#transport.open(call, false))
      const { dimensions } = request
      const result = await provider.embeddingModel(model).doEmbed({ values, ...(dimensions && { dimensions }) })
      for (const warning of result.warnings) call.onWarning?.(toWarning(warning, this.#kind))
      return toEmbeddingResponse(result, request, model, (warning) => call.onWarning?.(warning))
    } catch (error) {
      throw sdkError(error)
    }
  }

  close(): Promise<void> {
    return this.#transport.close()
  }

  #modelOf(request: ChatRequest | EmbeddingRequest): string {
    return this.model === '*' ? request.model : this.model
  }

  /** A provider is cheap to make, and with one for each call its `fetch` knows whose call it serves. */
  async #open({ fetch }: SDKConnection): Promise<SDKProvider> {
    this.#factory ??= loadFactory(this.#sdk)
    return (await this.#factory)({ ...this.#settings, fetch })
  }
}

/** Tells what the request itself gives rise to, and returns where to tell the rest. */
function announce(warnings: string[], call: CallOptions): (warning: string) => void {
  for (const warning of warnings) call.onWarning?.(warning)
  return (warning) => call.onWarning?.(warning)
}
