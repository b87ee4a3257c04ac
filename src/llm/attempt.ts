import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { AttemptEnd, AttemptObserver, CallOptions, ChatCompletion, ChatCompletionChunk, Usage } from '../types.ts'

/** The parts of an answer, whole or in pieces, that are told. */
export interface Facts {
  id?: string
  model?: string
  usage?: unknown
  choices?: unknown
  /** Of an answer without choices. */
  finishReason?: string
  /** The provider has answered that it failed. */
  failure?: GatewayError
  /** It comes before the first piece. */
  isHead?: boolean
}

/** One time that a provider is asked. */
export class Attempt {
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
  #failure: GatewayError | undefined
  readonly #answer: (ChatCompletion | ChatCompletionChunk)[] | undefined

  constructor(observer: AttemptObserver, call: CallOptions) {
    this.#observer = observer
    if (observer.keepsAnswer) this.#answer = []
    this.call = observer.headers ? { ...call, traceHeaders: { ...call.traceHeaders, ...observer.headers } } : call
  }

  /** @param factsOf What is told of the answer. */
  async whole<Answer>(asked: Promise<Answer>, factsOf: (answer: Answer) => Facts): Promise<Answer> {
    try {
      const answer = await asked
      this.#note(factsOf(answer))
      this.#answered()
      return answer
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** @param factsOf What is told of a chunk; undefined for one that is no piece of the answer and tells nothing. */
  streamed<Chunk>(
    chunks: AsyncIterable<Chunk>,
    factsOf: (chunk: Chunk) => Facts | undefined,
  ): AsyncIterableIterator<Chunk> {
    const iterator = chunks[Symbol.asyncIterator]()
    const take = (result: IteratorResult<Chunk>): IteratorResult<Chunk> => {
      if (result.done) this.#answered()
      else this.#take(factsOf(result.value))
      return result
    }
    const fail = (error: unknown): never => {
      this.#fail(error)
      throw error
    }
    return {
      next: () => iterator.next().then(take, fail),
      return: async () => {
        // Whoever stops reading tells no reason; it is nearly always its client that has left.
        this.#end('aborted', 'client_closed')
        return (await iterator.return?.()) ?? { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #take(facts: Facts | undefined): void {
    if (!facts) return
    if (this.#firstTokenMs === undefined && !facts.isHead) {
      this.#firstTokenMs = performance.now() - this.#startedAt
      this.#observer.onFirstToken()
    }
    this.#note(facts)
  }

  #note(answer: Facts): void {
    const { id, model, usage, choices, finishReason, failure } = answer
    this.#responseId ??= id
    this.#responseModel ??= model
    if (usage) this.#usage = usage as Usage
    this.#failure ??= failure
    if (finishReason) this.#finishReasons = [finishReason]
    // A provider is taken at its word: what makes no sense goes to the client as it is, and is none of the listeners'.
    if (!Array.isArray(choices)) return
    this.#answer?.push(answer as ChatCompletion | ChatCompletionChunk)
    for (const choice of choices) {
      if (!isObject(choice) || typeof choice.finish_reason !== 'string' || choice.finish_reason === '') continue
      this.#finishReasons ??= []
      this.#finishReasons.push(choice.finish_reason)
    }
  }

  #answered(): void {
    if (this.#failure) this.#fail(this.#failure)
    else this.#end('ok')
  }

  #fail(error: unknown): void {
    if (!(error instanceof GatewayError)) this.#end('error', 'internal_error')
    // The gateway's own word, and not the provider's, who was not asked: its format has no way to say this.
    else if (error.kind === 'invalid_request') this.#end('error', 'unsupported')
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
