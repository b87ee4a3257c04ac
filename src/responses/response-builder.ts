import type { ResponseUsage } from 'openai/resources/responses/responses'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { ChatCompletionChunk, ChunkChoice, ChunkDelta } from '../types.ts'
import { toAnnotations, toLogprobs } from './answer-details.ts'
import { type CallDelta, CallOutput, isCustomCall } from './call-output.ts'
import { echoedFields } from './echoed-fields.ts'
import { itemId, newResponseId } from './item-ids.ts'
import { MessageOutput } from './message-output.ts'
import type { OpenItem, OutputPlace } from './output-item.ts'
import { ReasoningOutput } from './reasoning-output.ts'
import { errorEvent, numbered, responseError } from './response-failure.ts'
import type { ResponseMaker } from './response-maker.ts'
import type {
  EventBody,
  ItemStatus,
  LifecycleEvent,
  ResponseEvent,
  ResponseObject,
  ResponseRequest,
} from './response-types.ts'
import { toResponseUsage } from './response-usage.ts'

export interface ResponseBuilderOptions {
  id?: string
  /** Seconds since 1970; now unless told. */
  createdAt?: number
}

/** What many providers send beside OpenAI's fields. */
type Delta = ChunkDelta & {
  reasoning_content?: unknown
  reasoning?: unknown
  annotations?: unknown
  extra_content?: unknown
}

/** Turns the chunks of a chat completion into the events of a Response, and into the Response itself. */
export class ResponseBuilder implements ResponseMaker<ChatCompletionChunk> {
  failure: GatewayError | undefined
  readonly #items: OpenItem[] = []
  readonly #calls = new Map<number, CallOutput>()
  readonly #open = new Set<OpenItem>()
  #current: MessageOutput | ReasoningOutput | undefined
  #head: Omit<ResponseObject, 'output'>
  #usage: ResponseUsage | undefined
  #finishReason: ChunkChoice['finish_reason'] = null
  #sequence = 0

  constructor(request: ResponseRequest, { id = newResponseId(), createdAt = seconds() }: ResponseBuilderOptions = {}) {
    const status = request.background ? 'queued' : 'in_progress'
    this.#head = { id, object: 'response', created_at: createdAt, status, ...echoedFields(request) }
  }

  get id(): string {
    return this.#head.id
  }

  get response(): ResponseObject {
    const output = this.#items.map(({ item }) => item)
    return { ...this.#head, output, ...(this.#usage ? { usage: this.#usage } : {}) }
  }

  get sequence(): number {
    return this.#sequence
  }

  /** Whether the response has come to its end, whichever. */
  get isOver(): boolean {
    return this.#head.status !== 'queued' && this.#head.status !== 'in_progress'
  }

  queue(): ResponseEvent[] {
    return this.#numbered([this.#lifecycle('response.created'), this.#lifecycle('response.queued')])
  }

  start(): ResponseEvent[] {
    if (this.isOver) return []
    this.#head.status = 'in_progress'
    const events = [this.#lifecycle('response.created'), this.#lifecycle('response.in_progress')]
    return this.#numbered(this.#sequence === 0 ? events : events.slice(1))
  }

  add(chunk: ChatCompletionChunk): ResponseEvent[] {
    if (this.isOver) return []
    if (chunk.model) this.#head.model = chunk.model
    if (chunk.service_tier) this.#head.service_tier = chunk.service_tier
    if (chunk.usage) this.#usage = toResponseUsage(chunk.usage)
    const choice = chunk.choices?.find(({ index }) => index === 0)
    if (!choice) return []
    this.#finishReason = choice.finish_reason ?? this.#finishReason
    return this.#numbered(this.#read(choice))
  }

  finish(): ResponseEvent[] {
    if (this.isOver) return []
    switch (this.#finishReason) {
      case null:
        return this.fail(new GatewayError('upstream_truncated', 'the upstream provider ended its answer half-way'))
      case 'length':
        return this.#cutShort('max_output_tokens')
      case 'content_filter':
        return this.#cutShort('content_filter')
      default: {
        // An answer without a word is a message without a word.
        const empty = this.#items.length === 0 ? this.#message((message) => message.text('')) : []
        const closing = [...empty, ...this.#close('completed')]
        this.#head = { ...this.#head, status: 'completed', completed_at: seconds() }
        return this.#numbered([...closing, this.#lifecycle('response.completed')])
      }
    }
  }

  fail(error: GatewayError): ResponseEvent[] {
    if (this.isOver) return []
    this.failure = error
    const closing = this.#close('incomplete')
    this.#head = { ...this.#head, status: 'failed', error: responseError(error) }
    return this.#numbered([...closing, errorEvent(error), this.#lifecycle('response.failed')])
  }

  cancel(): ResponseEvent[] {
    if (this.isOver) return []
    const closing = this.#close('incomplete')
    this.#head = { ...this.#head, status: 'cancelled' }
    return this.#numbered([...closing, this.#lifecycle('response.incomplete')])
  }

  #read({ delta, logprobs }: ChunkChoice): EventBody[] {
    const { content, refusal, tool_calls, reasoning_content, reasoning, annotations, extra_content } = (delta ??
      {}) as Delta
    const thought = reasoning_content || reasoning
    const events: EventBody[] = []
    if (thought && typeof thought === 'string') events.push(...this.#reasoning((item) => item.think(thought)))
    if (extra_content !== undefined) events.push(...this.#keep(extra_content))
    const probabilities = toLogprobs(logprobs?.content)
    if (content || (probabilities.length > 0 && this.#current instanceof MessageOutput)) {
      events.push(...this.#message((message) => message.text(content ?? '', probabilities)))
    }
    const cited = toAnnotations(annotations)
    if (cited.length > 0) events.push(...this.#message((message) => message.annotate(cited)))
    if (refusal) events.push(...this.#message((message) => message.refuse(refusal)))
    for (const call of ((tool_calls ?? []) as CallDelta[]).filter(isObject)) events.push(...this.#call(call))
    return events
  }

  #message(speak: (message: MessageOutput) => EventBody[]): EventBody[] {
    if (this.#current instanceof MessageOutput) return speak(this.#current)
    const ending = this.#closeCurrent('completed')
    const message = this.#opened(new MessageOutput(this.#place('message')))
    this.#current = message
    return [...ending, ...message.start(), ...speak(message)]
  }

  #reasoning(think: (item: ReasoningOutput) => EventBody[]): EventBody[] {
    if (this.#current instanceof ReasoningOutput) return think(this.#current)
    const ending = this.#closeCurrent('completed')
    const reasoning = this.#opened(new ReasoningOutput(this.#place('reasoning')))
    this.#current = reasoning
    return [...ending, ...reasoning.start(), ...think(reasoning)]
  }

  /** A state belongs to what is being thought or said; with neither, it is a thought that the provider does not show. */
  #keep(state: unknown): EventBody[] {
    const keep = (item: MessageOutput | ReasoningOutput): EventBody[] => {
      item.keep(state)
      return []
    }
    if (this.#current) return keep(this.#current)
    return state ? this.#reasoning(keep) : []
  }

  /** Calls stay open to the end: those of one index may go on between those of another. */
  #call(delta: CallDelta): EventBody[] {
    const known = this.#calls.get(delta.index)
    if (known && !known.isOther(delta)) return known.continue(delta)
    const ending = this.#closeCurrent('completed')
    const place = this.#place(isCustomCall(delta) ? 'custom_tool_call' : 'function_call')
    const call = this.#opened(new CallOutput(place, delta))
    this.#calls.set(delta.index, call)
    return [...ending, ...call.start(), ...call.continue(delta)]
  }

  #place(type: string): OutputPlace {
    const output_index = this.#items.length
    return { item_id: itemId(type, this.#head.id, 'output', output_index), output_index }
  }

  #opened<Item extends OpenItem>(item: Item): Item {
    this.#items.push(item)
    this.#open.add(item)
    return item
  }

  #closeCurrent(status: ItemStatus): EventBody[] {
    const item = this.#current
    this.#current = undefined
    if (!item) return []
    this.#open.delete(item)
    return item.close(status)
  }

  #close(status: ItemStatus): EventBody[] {
    const events = Array.from(this.#open).flatMap((item) => item.close(status))
    this.#open.clear()
    return events
  }

  #cutShort(reason: 'max_output_tokens' | 'content_filter'): ResponseEvent[] {
    const closing = this.#close('incomplete')
    this.#head = { ...this.#head, status: 'incomplete', incomplete_details: { reason } }
    return this.#numbered([...closing, this.#lifecycle('response.incomplete')])
  }

  #lifecycle(type: LifecycleEvent['type']): EventBody {
    return { type, response: this.response }
  }

  #numbered(events: EventBody[]): ResponseEvent[] {
    return events.map((event) => numbered(event, this.#sequence++))
  }
}

const seconds = (): number => Math.floor(Date.now() / 1000)
