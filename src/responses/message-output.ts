import type { ResponseOutputRefusal, ResponseOutputText } from 'openai/resources/responses/responses'
import { added, done, type OpenItem, type OutputPlace } from './output-item.ts'
import { mergedState, sealed } from './provider-state.ts'
import type { EventBody, ItemStatus, MessageItem } from './response-types.ts'

type Part = ResponseOutputText | ResponseOutputRefusal
export type TextLogprob = NonNullable<ResponseOutputText['logprobs']>[number]
export type TextAnnotation = ResponseOutputText['annotations'][number]

/** A message of the model: parts of text and of refusal, in the order in which they came. */
export class MessageOutput implements OpenItem {
  readonly #place: OutputPlace
  readonly #parts: Part[] = []
  #status: ItemStatus = 'in_progress'
  #state: object | null | undefined

  constructor(place: OutputPlace) {
    this.#place = place
  }

  get item(): MessageItem {
    return {
      id: this.#place.item_id,
      type: 'message',
      status: this.#status,
      role: 'assistant',
      content: this.#parts.map(copied),
      ...(this.#state ? { encrypted_content: sealed(this.#state) } : {}),
    }
  }

  start(): EventBody[] {
    return [added(this.#place.output_index, this.item)]
  }

  text(delta: string, logprobs: TextLogprob[] = []): EventBody[] {
    const [part, events] = this.#textPart()
    part.text += delta
    part.logprobs?.push(...logprobs)
    if (delta || logprobs.length > 0)
      events.push({ type: 'response.output_text.delta', ...this.#partPlace, delta, logprobs })
    return events
  }

  annotate(annotations: readonly TextAnnotation[]): EventBody[] {
    const [part, events] = this.#textPart()
    for (const annotation of annotations) {
      const annotation_index = part.annotations.push(annotation) - 1
      events.push({
        type: 'response.output_text.annotation.added',
        ...this.#partPlace,
        annotation_index,
        annotation,
      } as EventBody)
    }
    return events
  }

  refuse(delta: string): EventBody[] {
    const [part, events] = this.#partOf('refusal', { type: 'refusal', refusal: '' })
    part.refusal += delta
    events.push({ type: 'response.refusal.delta', ...this.#partPlace, delta })
    return events
  }

  /** Keeps what the provider wants to see again. */
  keep(state: unknown): void {
    this.#state = mergedState(this.#state, state)
  }

  close(status: ItemStatus): EventBody[] {
    const events = this.#closePart()
    this.#status = status
    return [...events, done(this.#place.output_index, this.item)]
  }

  get #partPlace() {
    return { ...this.#place, content_index: this.#parts.length - 1 }
  }

  #textPart(): [ResponseOutputText, EventBody[]] {
    return this.#partOf('output_text', { type: 'output_text', text: '', annotations: [], logprobs: [] })
  }

  /** The part that is open, if it is of that type; else a new one. */
  #partOf<Type extends Part['type']>(
    type: Type,
    fresh: Extract<Part, { type: Type }>,
  ): [Extract<Part, { type: Type }>, EventBody[]] {
    const last = this.#parts.at(-1)
    if (last?.type === type) return [last as Extract<Part, { type: Type }>, []]
    const events = this.#closePart()
    this.#parts.push(fresh)
    return [fresh, [...events, { type: 'response.content_part.added', ...this.#partPlace, part: copied(fresh) }]]
  }

  #closePart(): EventBody[] {
    const part = this.#parts.at(-1)
    if (!part) return []
    const place = this.#partPlace
    return [
      part.type === 'refusal'
        ? { type: 'response.refusal.done', ...place, refusal: part.refusal }
        : { type: 'response.output_text.done', ...place, text: part.text, logprobs: [...(part.logprobs ?? [])] },
      { type: 'response.content_part.done', ...place, part: copied(part) },
    ]
  }
}

const copied = (part: Part): Part =>
  part.type === 'refusal'
    ? { ...part }
    : { ...part, annotations: [...part.annotations], logprobs: [...(part.logprobs ?? [])] }
