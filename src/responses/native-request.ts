import type { ChatRequest, ProviderRequest } from '../types.ts'
import { responseIdOf } from './item-ids.ts'
import { typeOf } from './item-schema.ts'
import { unsealed } from './provider-state.ts'
import type { InputItem, ResponseRequest, StoredItem } from './response-types.ts'

/**
 * Items that others name by their id, or that have no place without one. All other ids are left out: the provider, which stores
 * nothing, would look them up in vain (`Item with id 'rs_…' not found`), and then miss what they were stored together with.
 */
const identified = new Set([
  'code_interpreter_call',
  'computer_call',
  'file_search_call',
  'image_generation_call',
  'item_reference',
  'local_shell_call',
  'local_shell_call_output',
  'mcp_approval_request',
  'mcp_call',
  'mcp_list_tools',
  'program',
  'program_output',
])

/**
 * A request for a provider that speaks the Responses API, without `stream`. The gateway is the one who stores: the provider keeps
 * nothing, and sees all earlier items.
 *
 * @param earlier What the response builds on.
 * @param own The request's own input, with what its references stand for.
 */
export function toProviderRequest(
  request: ResponseRequest,
  earlier: readonly StoredItem[],
  own: readonly StoredItem[],
): ProviderRequest {
  const { background: _background, conversation: _conversation, input, stream: _stream, ...rest } = request
  const { previous_response_id: _previous, ...passed } = rest
  // As the client wrote them: only what stands for another item is not.
  const given = Array.isArray(input) ? input.map((item, n) => (isReference(item) ? (own[n] ?? item) : item)) : own
  const items = earlier.length === 0 && typeof input === 'string' ? input : sendable([...earlier, ...given])
  return { ...passed, ...(items.length === 0 && input == null ? {} : { input: items }), store: false }
}

type Fields = Readonly<Record<string, unknown>>

const isReference = (item: InputItem): boolean => typeOf({ ...item }) === 'item_reference'

/** What a provider can make use of that has stored none of it. */
function sendable(items: readonly (StoredItem | InputItem)[]): object[] {
  const fields = items.map((item): Fields => ({ ...item }))
  const answered = new Set(fields.flatMap(({ type, call_id }) => (String(type).endsWith('_output') ? [call_id] : [])))
  return fields.flatMap((item) => {
    const { id, encrypted_content: content, ...rest } = item
    const type = String(typeOf(item))
    const state = typeof content === 'string' && !unsealed(content) ? { encrypted_content: content } : {}
    // A thought that the provider has not sealed itself is known only to who has stored it.
    if (type === 'reasoning' && !('encrypted_content' in state)) return []
    // What was cut off is no use to anybody, unless it is a text, or somebody has answered it.
    if (item.status === 'incomplete' && type !== 'message' && !answered.has(item.call_id)) return []
    const isKnown = typeof id === 'string' && identified.has(type) && !responseIdOf(id)
    return [{ ...(isKnown ? { id } : {}), ...rest, ...state }]
  })
}

/** What is no text, however long. */
const noText = new Set(['encrypted_content', 'file_data', 'id', 'image_url', 'input_audio', 'result', 'tools'])

/** The text of a request, as one message of a chat: for estimates of what it used. */
export function promptOf({ input, instructions }: ProviderRequest): Pick<ChatRequest, 'messages'> {
  const text = JSON.stringify([instructions, input], (name, value: unknown) => (noText.has(name) ? undefined : value))
  return { messages: [{ role: 'user', content: text }] }
}
