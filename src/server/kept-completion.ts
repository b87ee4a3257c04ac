import { CompletionCollector } from '../completions/completion-collector.ts'
import { newCompletionId } from '../completions/completion-id.ts'
import type { CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest } from '../types.ts'
import type { ChunkStream } from './chunk-stream.ts'
import type { ServerContext } from './context.ts'
import type { Exchange } from './exchange.ts'

type Next = IteratorResult<ChatCompletionChunk>
/** What is read of a stream of chunks. */
export type Chunks = Pick<ChunkStream, 'first' | 'next' | 'return'>

/** A completion that can be asked for later: it has an id of the gateway's own, and is stored if the request says so. */
export class KeptCompletion {
  readonly id = newCompletionId()
  readonly #exchange: Exchange
  readonly #context: ServerContext
  readonly #request: ChatRequest

  private constructor(exchange: Exchange, context: ServerContext, request: ChatRequest) {
    this.#exchange = exchange
    this.#context = context
    this.#request = request
  }

  /**
   * Makes sure, before anything is paid for, that there is a store for it.
   *
   * @throws GatewayError `store_unavailable`
   */
  static async claim(exchange: Exchange, context: ServerContext, request: ChatRequest): Promise<KeptCompletion> {
    const kept = new KeptCompletion(exchange, context, request)
    await kept.beat()
    return kept
  }

  /** A sign of life. @throws GatewayError `store_unavailable` */
  beat(): Promise<void> {
    return this.#context.responses.beat(this.#exchange.userId, this.id)
  }

  /** The answer under its id; resolves when it is stored. */
  async whole(completion: ChatCompletion): Promise<ChatCompletion> {
    const answer = { ...completion, id: this.id }
    await this.#saveOrWarn(answer)
    return answer
  }

  /** The chunks under its id; they end when what they come to is stored. What breaks off, or is left, is not stored. */
  streamed(chunks: Chunks, { signal }: CallOptions): Chunks {
    const collector = new CompletionCollector()
    const kept = async (pending: Promise<Next>): Promise<Next> => {
      const next = await pending
      if (next.done) {
        if (!signal?.aborted) await this.#saveOrWarn(collector.completion)
        return next
      }
      const value = { ...next.value, id: this.id }
      if (this.#request.store) collector.add(value)
      return { done: false, value }
    }
    const first = kept(chunks.first)
    // It may fail before anybody reads the stream that waits for it.
    first.catch(() => {})
    return { first, next: () => kept(chunks.next()), return: () => chunks.return() }
  }

  /** It has been paid for: it is delivered even if it cannot be stored. */
  async #saveOrWarn(completion: ChatCompletion): Promise<void> {
    if (!this.#request.store) return
    const { userId } = this.#exchange
    await this.#context.completions.save(userId, completion, this.#request).catch((error: unknown) => {
      this.#exchange.warn('the completion could not be stored: it cannot be retrieved', error)
    })
  }
}
