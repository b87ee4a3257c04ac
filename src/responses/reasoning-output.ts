import { added, done, type OpenItem, type OutputPlace } from './output-item.ts'
import { mergedState, sealed } from './provider-state.ts'
import type { EventBody, ItemStatus, ReasoningItem } from './response-types.ts'

/** The thoughts of a model, as it thought them: chat completions have no summaries of them. */
export class ReasoningOutput implements OpenItem {
  readonly #place: OutputPlace
  #text: string | undefined
  #status: ItemStatus = 'in_progress'
  #state: object | null | undefined

  constructor(place: OutputPlace) {
    this.#place = place
  }

  get item(): ReasoningItem {
    return {
      id: this.#place.item_id,
      type: 'reasoning',
      status: this.#status,
      summary: [],
      content: this.#text === undefined ? [] : [this.#part(this.#text)],
      ...(this.#state ? { encrypted_content: sealed(this.#state) } : {}),
    }
  }

  start(): EventBody[] {
    return [added(this.#place.output_index, this.item)]
  }

  think(delta: string): EventBody[] {
    const place = { ...this.#place, content_index: 0 }
    const events: EventBody[] =
      this.#text === undefined ? [{ type: 'response.content_part.added', ...place, part: this.#part('') }] : []
    this.#text = (this.#text ?? '') + delta
    return [...events, { type: 'response.reasoning_text.delta', ...place, delta }]
  }

  /** Keeps what the provider wants to see again. */
  keep(state: unknown): void {
    this.#state = mergedState(this.#state, state)
  }

  close(status: ItemStatus): EventBody[] {
    this.#status = status
    const place = { ...this.#place, content_index: 0 }
    const text = this.#text
    const events: EventBody[] =
      text === undefined
        ? []
        : [
            { type: 'response.reasoning_text.done', ...place, text },
            { type: 'response.content_part.done', ...place, part: this.#part(text) },
          ]
    return [...events, done(this.#place.output_index, this.item)]
  }

  #part(text: string) {
    return { type: 'reasoning_text' as const, text }
  }
}
