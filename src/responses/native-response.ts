import { copyJSON, isObject } from '../json.ts'
import { malformed } from '../llm/answer.ts'
import { responseFailure } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { ProviderEvent, ProviderResponse } from '../types.ts'
import { echoedFields } from './echoed-fields.ts'
import { applyEvent } from './fold-events.ts'
import { newResponseId } from './item-ids.ts'
import type { ResponseBuilderOptions } from './response-builder.ts'
import { abandoned, calledOff, numbered, responseError } from './response-failure.ts'
import type { ResponseMaker } from './response-maker.ts'
import type { LifecycleEvent, ResponseEvent, ResponseObject, ResponseRequest } from './response-types.ts'

/** The status that each of the last events brings. */
const endings: Readonly<Record<string, ResponseObject['status']>> = {
  'response.completed': 'completed',
  'response.failed': 'failed',
  'response.incomplete': 'incomplete',
}

/** They begin a response, each once. */
const beginnings = ['response.created', 'response.queued', 'response.in_progress'] as const

type Owned = Pick<
  ResponseObject,
  'id' | 'created_at' | 'background' | 'conversation' | 'metadata' | 'previous_response_id' | 'store'
>

/**
 * The Response of a provider that speaks the API itself. What it sends passes as it is, but for what the gateway keeps: the id, the
 * numbers of the events, where the response is stored and what it follows.
 */
export class NativeResponse implements ResponseMaker<ProviderEvent> {
  failure: GatewayError | undefined
  readonly #owned: Owned
  readonly #said = new Set<string>()
  #response: ResponseObject
  #ending: ProviderEvent | undefined
  #sequence = 0

  constructor(request: ResponseRequest, { id = newResponseId(), createdAt = seconds() }: ResponseBuilderOptions = {}) {
    const status = request.background ? 'queued' : 'in_progress'
    const echoed = echoedFields(request)
    const { background, conversation, metadata, previous_response_id, store } = echoed
    const fields = { background, conversation, metadata, previous_response_id, store }
    this.#owned = { id, created_at: createdAt, ...fields } as Owned
    this.#response = { id, object: 'response', created_at: createdAt, status, ...echoed, output: [] }
  }

  get id(): string {
    return this.#owned.id
  }

  get response(): ResponseObject {
    return copyJSON(this.#response)
  }

  get sequence(): number {
    return this.#sequence
  }

  /** Takes a whole answer. */
  take(answer: ProviderResponse): void {
    this.#take({ status: statusOf(answer), ...answer })
    if (this.#response.status === 'failed') this.#fault()
    else if (!this.#isOver) this.failure = malformed('the upstream provider answered with a response that is not over')
  }

  queue(): ResponseEvent[] {
    return this.#numbered([this.#lifecycle('response.created'), this.#lifecycle('response.queued')])
  }

  /** Without a `queue` before it, the response begins with what the provider says of it. */
  start(): ResponseEvent[] {
    if (this.#isOver) return []
    this.#response.status = 'in_progress'
    return this.#sequence === 0 ? [] : this.#numbered([this.#lifecycle('response.in_progress')])
  }

  add(event: ProviderEvent): ResponseEvent[] {
    if (this.#isOver || this.#ending) return []
    if (Object.hasOwn(endings, event.type)) {
      this.#ending = event
      return []
    }
    const { status } = this.#response
    if (isObject(event.response)) this.#take(event.response)
    // What ends it is the last event only.
    if (this.#isOver) this.#response.status = status ?? 'in_progress'
    if (this.#said.has(event.type)) return []
    const before = event.type === 'response.created' ? [] : this.#opening()
    if (isObject(event.response)) return [...before, ...this.#numbered([this.#told(event)])]
    // The provider is taken at its word.
    const known = event as unknown as ResponseEvent
    if (!('response' in known)) applyEvent(this.#response.output, known)
    const told = 'response_id' in event ? { ...event, response_id: this.id } : event
    return [...before, ...this.#numbered([told])]
  }

  finish(): ResponseEvent[] {
    if (this.#isOver) return []
    const event = this.#ending
    if (!event) {
      return this.fail(new GatewayError('upstream_truncated', 'the upstream provider ended its answer half-way'))
    }
    const before = this.#opening()
    if (isObject(event.response)) this.#take(event.response)
    this.#response.status = endings[event.type] ?? 'completed'
    if (event.type === 'response.failed') this.#fault()
    return [...before, ...this.#numbered([this.#told(event)])]
  }

  fail(error: GatewayError): ResponseEvent[] {
    if (this.#isOver) return []
    this.failure = error
    return this.#end((next) => abandoned(this.#response, error, next))
  }

  cancel(): ResponseEvent[] {
    return this.#isOver ? [] : this.#end((next) => calledOff(this.#response, next))
  }

  get #isOver(): boolean {
    return this.#response.status !== 'queued' && this.#response.status !== 'in_progress'
  }

  #end(ending: (next: number) => { response: ResponseObject; events: ResponseEvent[] }): ResponseEvent[] {
    const before = this.#opening()
    const { response, events } = ending(this.#sequence)
    this.#response = response
    this.#sequence += events.length
    return [...before, ...copyJSON(events)]
  }

  /** A stream begins with `response.created`, whatever the provider says or does not come to say. */
  #opening(): ResponseEvent[] {
    return this.#sequence === 0 ? this.#numbered([this.#lifecycle('response.created')]) : []
  }

  /** Some servers tell the items only once, as they come: what is no list of items takes none of them back. */
  #take(told: Readonly<Record<string, unknown>>): void {
    const { output } = this.#response
    const isTold = Array.isArray(told.output) && told.output.length > 0
    const kept = isTold ? {} : { output }
    this.#response = { ...this.#response, ...copyJSON(told), ...kept, ...this.#owned }
  }

  /** What the gateway or the provider got wrong says so, and leaks nothing. */
  #fault(): void {
    const { error } = this.#response
    this.failure = responseFailure(error)
    const { code, message } = responseError(this.failure)
    this.#response.error = { code, ...error, message }
  }

  #told(event: ProviderEvent): { type: string; response: ResponseObject } {
    return { ...event, response: this.response }
  }

  #lifecycle(type: LifecycleEvent['type']): { type: string; response: ResponseObject } {
    return { type, response: this.response }
  }

  #numbered(events: readonly (object & { type: string })[]): ResponseEvent[] {
    for (const { type } of events) if (beginnings.some((name) => name === type)) this.#said.add(type)
    return events.map((event) => numbered(event as ResponseEvent, this.#sequence++))
  }
}

const seconds = (): number => Math.floor(Date.now() / 1000)

/** Of a whole answer that does not tell. */
const statusOf = ({ error, incomplete_details: details }: ProviderResponse): ResponseObject['status'] =>
  error ? 'failed' : details ? 'incomplete' : 'completed'
