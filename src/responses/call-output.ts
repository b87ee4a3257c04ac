import { isObject } from '../json.ts'
import type { ChunkDelta } from '../types.ts'
import { newCallId } from './item-ids.ts'
import { added, done, type OpenItem, type OutputPlace } from './output-item.ts'
import { mergedState, sealed } from './provider-state.ts'
import type { CustomCallItem, EventBody, FunctionCallItem, ItemStatus } from './response-types.ts'

/** OpenAI's own types know functions only. */
export type CallDelta = Omit<NonNullable<ChunkDelta['tool_calls']>[number], 'type'> & {
  type?: string
  custom?: { name?: string; input?: string }
  extra_content?: unknown
}

export const isCustomCall = ({ type, custom }: CallDelta): boolean => type === 'custom' || custom !== undefined

/** A call of a tool: of a function with its arguments, or of a custom tool with its input. */
export class CallOutput implements OpenItem {
  readonly #place: OutputPlace
  readonly #callId: string
  #name: string
  readonly #isCustom: boolean
  #input = ''
  #status: ItemStatus = 'in_progress'
  #state: object | null | undefined

  constructor(place: OutputPlace, delta: CallDelta) {
    const { id, custom, function: fn, extra_content } = delta
    this.#place = place
    this.#callId = id || newCallId()
    this.#isCustom = isCustomCall(delta)
    this.#name = custom?.name ?? fn?.name ?? ''
    this.#state = mergedState(undefined, extra_content)
  }

  /** Whether a delta of the same index begins another call: some servers give every call the same index. */
  isOther({ id, custom, function: fn }: CallDelta): boolean {
    const name = custom?.name || fn?.name
    if (!this.#name || !name) return false
    return id
      ? id !== this.#callId
      : name !== this.#name || (Boolean(custom?.input || fn?.arguments) && isWhole(this.#input))
  }

  get item(): FunctionCallItem | CustomCallItem {
    const { item_id: id } = this.#place
    const head = { id, call_id: this.#callId, name: this.#name, status: this.#status }
    const state = this.#state ? { encrypted_content: sealed(this.#state) } : {}
    return this.#isCustom
      ? { ...head, type: 'custom_tool_call', input: this.#input, ...state }
      : { ...head, type: 'function_call', arguments: this.#input, ...state }
  }

  start(): EventBody[] {
    return [added(this.#place.output_index, this.item)]
  }

  continue({ custom, function: fn, extra_content }: CallDelta): EventBody[] {
    this.#state = mergedState(this.#state, extra_content)
    this.#name ||= custom?.name ?? fn?.name ?? ''
    const delta = (this.#isCustom ? custom?.input : fn?.arguments) ?? ''
    if (!delta) return []
    this.#input += delta
    return this.#isCustom
      ? [{ type: 'response.custom_tool_call_input.delta', ...this.#place, delta }]
      : [{ type: 'response.function_call_arguments.delta', ...this.#place, delta }]
  }

  close(status: ItemStatus): EventBody[] {
    this.#status = status
    const input = this.#input
    // The SDK's type does not know the name; the API's description asks for it.
    const end = this.#isCustom
      ? { type: 'response.custom_tool_call_input.done' as const, ...this.#place, input }
      : { type: 'response.function_call_arguments.done' as const, ...this.#place, name: this.#name, arguments: input }
    return [end, done(this.#place.output_index, this.item)]
  }
}

/** Arguments that are whole already: what comes with a name after them, and without an id, are those of another call. */
function isWhole(text: string): boolean {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}
