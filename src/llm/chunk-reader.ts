import { isObject } from '../json.ts'
import type { GatewayError } from '../server/errors.ts'
import type { ChatCompletionChunk } from '../types.ts'
import { malformed, parseAnswer } from './answer.ts'
import type { AsyncQueue } from './async-queue.ts'
import { brokenOff, type EventReader } from './post.ts'
import { streamErrorEvent } from './upstream-errors.ts'

/** Turns the data of each event into a chunk, and knows whether the answer is whole when the stream ends. */
export class ChunkReader implements EventReader {
  readonly #queue: AsyncQueue<ChatCompletionChunk>
  readonly #end: (error?: GatewayError) => void
  readonly #unfinished = new Set<number>()
  #started = false

  constructor(queue: AsyncQueue<ChatCompletionChunk>, end: (error?: GatewayError) => void) {
    this.#queue = queue
    this.#end = end
  }

  read(data: string, name?: string): boolean {
    if (data === '[DONE]') {
      this.#end()
      return false
    }
    const chunk = parseAnswer(data)
    if (!chunk || chunk.error || name === 'error') {
      this.#end(
        chunk
          ? streamErrorEvent(chunk.error ?? chunk)
          : malformed('the upstream provider sent an event that is not a JSON object'),
      )
      return false
    }
    this.#track(chunk.choices)
    this.#queue.push(chunk as unknown as ChatCompletionChunk, data.length)
    return true
  }

  /** Some servers never send [DONE]: then the answer is whole only if every choice has its `finish_reason`. */
  end(isDocument: boolean): void {
    const whole = this.#started && this.#unfinished.size === 0
    this.#end(whole ? undefined : brokenOff(isDocument))
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
