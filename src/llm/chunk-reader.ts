import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { ChatCompletionChunk } from '../types.ts'
import { malformed, parseAnswer } from './answer.ts'
import type { AsyncQueue } from './async-queue.ts'
import { streamErrorEvent } from './upstream-errors.ts'

/** Turns the data of each event into a chunk, and knows whether the answer is whole when the stream ends. */
export class ChunkReader {
  readonly #queue: AsyncQueue<ChatCompletionChunk>
  readonly #end: (error?: GatewayError) => void
  readonly #unfinished = new Set<number>()
  #started = false
  #first: string | undefined

  constructor(queue: AsyncQueue<ChatCompletionChunk>, end: (error?: GatewayError) => void) {
    this.#queue = queue
    this.#end = end
  }

  /** Events begin with a letter or a colon; what begins with a bracket is a document. */
  see(chunk: Buffer): void {
    this.#first ??= chunk.toString('latin1', 0, 64).trimStart()[0]
  }

  read(data: string, name?: string): void {
    if (data === '[DONE]') {
      this.#end()
      return
    }
    const chunk = parseAnswer(data)
    if (!chunk || chunk.error || name === 'error') {
      this.#end(
        chunk
          ? streamErrorEvent(chunk.error ?? chunk)
          : malformed('the upstream provider sent an event that is not a JSON object'),
      )
      return
    }
    this.#track(chunk.choices)
    this.#queue.push(chunk as unknown as ChatCompletionChunk, data.length)
  }

  /** Some servers never send [DONE]: then the answer is whole only if every choice has its `finish_reason`. */
  end(): void {
    const whole = this.#started && this.#unfinished.size === 0
    this.#end(whole ? undefined : /[{[<]/.test(this.#first ?? '') ? notAStream() : truncated())
  }

  #track(choices: unknown): void {
    if (!Array.isArray(choices)) return
    for (const choice of choices) {
      if (!isObject(choice) || typeof choice.index !== 'number') continue
      this.#started = true
      if (choice.finish_reason) this.#unfinished.delete(choice.index)
      else this.#unfinished.add(choice.index)
    }
  }
}

const truncated = (): GatewayError =>
  new GatewayError('upstream_truncated', 'the upstream provider ended its answer half-way')

/** A provider that cannot stream answers as a whole, or not at all; it would do so again, and be paid again. */
const notAStream = (): GatewayError =>
  new GatewayError('upstream_malformed', 'the upstream provider answered without a stream', {
    headers: { 'x-should-retry': 'false' },
  })
