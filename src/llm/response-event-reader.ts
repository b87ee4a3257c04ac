import type { GatewayError } from '../server/errors.ts'
import type { ProviderEvent } from '../types.ts'
import { malformed, parseAnswer } from './answer.ts'
import type { AsyncQueue } from './async-queue.ts'
import { brokenOff, type EventReader } from './post.ts'
import { responseFailure } from './upstream-errors.ts'

/** They say that there will be an answer, and nothing of it. */
const firstEvents = new Set(['response.created', 'response.queued', 'response.in_progress'])
const lastEvents = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** The events of a Response as they came, up to the one that ends it; an `error` is one. */
export class ResponseEventReader implements EventReader {
  readonly #queue: AsyncQueue<ProviderEvent>
  readonly #end: (error?: GatewayError) => void

  constructor(queue: AsyncQueue<ProviderEvent>, end: (error?: GatewayError) => void) {
    this.#queue = queue
    this.#end = end
  }

  read(data: string, name?: string): boolean {
    // Of chat completions; some servers end every stream with it.
    if (data === '[DONE]') return false
    const event = parseAnswer(data)
    const type = event?.type ?? name
    if (!event || typeof type !== 'string') {
      this.#end(event?.error ? responseFailure(event.error) : notAnEvent())
      return false
    }
    if (type === 'error') {
      this.#end(responseFailure(event.error ?? event))
      return false
    }
    this.#queue.push({ ...event, type }, data.length)
    if (lastEvents.has(type)) this.#end()
    return !firstEvents.has(type)
  }

  end(isDocument: boolean): void {
    this.#end(brokenOff(isDocument))
  }
}

const notAnEvent = (): GatewayError => malformed('the upstream provider sent something that is not an event')
