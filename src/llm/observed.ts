import { GatewayError } from '../server/errors.ts'
import { targetOf } from '../target.ts'
import type {
  AttemptEnd,
  AttemptObserver,
  AttemptStart,
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  EmbeddingRequest,
  LLMClient,
  ServerAddress,
  Usage,
} from '../types.ts'

/**
 * A provider's client that tells who listens of each time it is asked. It costs nothing when nobody does.
 *
 * @param baseURL Where the provider is, if that is known.
 */
export function observed(client: LLMClient, baseURL?: string): LLMClient {
  const { provider, model, embed } = client
  const server = serverOf(baseURL)

  function begin(
    operation: AttemptStart['operation'],
    request: ChatRequest | EmbeddingRequest,
    call: CallOptions | undefined,
    stream: boolean,
  ): Attempt | undefined {
    const target = targetOf(client, request)
    const observer = call?.onAttempt?.({ operation, target, ...server, stream, request: () => request })
    return call && observer && new Attempt(observer, call)
  }

  return {
    provider,
    model,
    agent: client.agent,
    complete(request, call) {
      const attempt = begin('chat', request, call, false)
      return attempt ? attempt.whole(client.complete(request, attempt.call)) : client.complete(request, call)
    },
    stream(request, call) {
      const attempt = begin('chat', request, call, true)
      return attempt ? attempt.streamed(client.stream(request, attempt.call)) : client.stream(request, call)
    },
    ...(embed
      ? {
          embed(request, call) {
            const attempt = begin('embeddings', request, call, false)
            return attempt
              ? attempt.whole(embed.call(client, request, attempt.call))
              : embed.call(client, request, call)
          },
        }
      : {}),
    close: async () => client.close?.(),
  }
}

/** The host and the port of an address. */
function serverOf(baseURL: string | undefined): { server: ServerAddress } | undefined {
  const url = baseURL === undefined ? null : URL.parse(baseURL)
  if (!url) return undefined
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  return { server: { address: url.hostname, port } }
}

/** The parts of an answer, whole or in pieces, that are told. */
interface Facts {
  id?: string
  model?: string
  usage?: unknown
  choices?: readonly { finish_reason?: string | null }[]
}

/** One time that a provider is asked. */
class Attempt {
  /** With what is to be sent along. */
  readonly call: CallOptions
  readonly #observer: AttemptObserver
  readonly #startedAt = performance.now()
  #isOver = false
  #firstTokenMs: number | undefined
  #usage: Usage | undefined
  #responseId: string | undefined
  #responseModel: string | undefined
  #finishReasons: string[] | undefined
  readonly #answer: (ChatCompletion | ChatCompletionChunk)[] | undefined

  constructor(observer: AttemptObserver, call: CallOptions) {
    this.#observer = observer
    if (observer.keepsAnswer) this.#answer = []
    this.call = observer.headers ? { ...call, traceHeaders: { ...call.traceHeaders, ...observer.headers } } : call
  }

  async whole<Answer extends Facts>(asked: Promise<Answer>): Promise<Answer> {
    try {
      const answer = await asked
      this.#note(answer)
      this.#end('ok')
      return answer
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  streamed(chunks: AsyncIterable<ChatCompletionChunk>): AsyncIterableIterator<ChatCompletionChunk> {
    const iterator = chunks[Symbol.asyncIterator]()
    const take = (result: IteratorResult<ChatCompletionChunk>): IteratorResult<ChatCompletionChunk> => {
      if (result.done) this.#end('ok')
      else this.#take(result.value)
      return result
    }
    const fail = (error: unknown): never => {
      this.#fail(error)
      throw error
    }
    return {
      next: () => iterator.next().then(take, fail),
      return: async () => {
        this.#end('aborted')
        return (await iterator.return?.()) ?? { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #take(chunk: ChatCompletionChunk): void {
    if (this.#firstTokenMs === undefined) {
      this.#firstTokenMs = performance.now() - this.#startedAt
      this.#observer.onFirstToken()
    }
    this.#note(chunk)
  }

  #note(answer: Facts): void {
    const { id, model, usage, choices } = answer
    if (choices) this.#answer?.push(answer as ChatCompletion | ChatCompletionChunk)
    this.#responseId ??= id
    this.#responseModel ??= model
    if (usage) this.#usage = usage as Usage
    for (const { finish_reason: reason } of choices ?? []) {
      if (!reason) continue
      this.#finishReasons ??= []
      this.#finishReasons.push(reason)
    }
  }

  #fail(error: unknown): void {
    if (!(error instanceof GatewayError)) this.#end('error', 'internal_error')
    else if (this.call.signal?.aborted) this.#end('aborted', error.code ?? error.type)
    else this.#end('error', error.code ?? error.type)
  }

  #end(outcome: AttemptEnd['outcome'], errorCode?: string): void {
    if (this.#isOver) return
    this.#isOver = true
    const answer = this.#answer
    this.#observer.onEnd({
      outcome,
      durationMs: performance.now() - this.#startedAt,
      ...(errorCode === undefined ? {} : { errorCode }),
      ...(this.#firstTokenMs === undefined ? {} : { firstTokenMs: this.#firstTokenMs }),
      ...(this.#usage === undefined ? {} : { usage: this.#usage }),
      ...(this.#responseId === undefined ? {} : { responseId: this.#responseId }),
      ...(this.#responseModel === undefined ? {} : { responseModel: this.#responseModel }),
      ...(this.#finishReasons === undefined ? {} : { finishReasons: this.#finishReasons }),
      ...(answer === undefined ? {} : { answer: () => answer }),
    })
  }
}
