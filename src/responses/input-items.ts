import { itemId, newItemId } from './item-ids.ts'
import { typeOf } from './item-schema.ts'
import type { InputItem, ResponseRequest, StoredItem } from './response-types.ts'

type Fields = Readonly<Record<string, unknown>>

/** The input of a request as it is stored, listed, and translated. */
export function inputItems({ input }: Pick<ResponseRequest, 'input'>, responseId: string): StoredItem[] {
  const items: InputItem[] = typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  return items.map((item, index) => toStoredItem(item, (type) => itemId(type, responseId, 'input', index)))
}

/** An item in its full form. An item that has an id keeps it. */
export function toStoredItem(item: InputItem, newId: (type: string) => string = newItemId): StoredItem {
  const fields: Fields = { ...item }
  const type = String(typeOf(fields))
  const id = typeof fields.id === 'string' && fields.id ? fields.id : newId(type)
  return { ...fields, ...defaultsOf(type, fields), type, id } as StoredItem
}

/** Fields that a listing must have and a client may leave out. */
function defaultsOf(type: string, { role, content, output, status, summary }: Fields): Fields {
  const done = { status: status ?? 'completed' }
  switch (type) {
    case 'message':
      return { ...done, content: role === 'assistant' ? saidParts(content) : givenParts(content) }
    case 'function_call_output':
    case 'custom_tool_call_output':
      return { ...done, output: typeof output === 'string' ? output : givenParts(output) }
    case 'function_call':
    case 'custom_tool_call':
      return done
    case 'reasoning':
      return { summary: summary ?? [] }
    default:
      return {}
  }
}

const listOf = (content: unknown): Fields[] =>
  typeof content === 'string' ? [{ type: 'input_text', text: content }] : (content as Fields[])

const givenParts = (content: unknown): Fields[] =>
  listOf(content).map((part) => (part.type === 'input_image' ? { ...part, detail: part.detail ?? 'auto' } : part))

const saidParts = (content: unknown): Fields[] =>
  listOf(content).map((part) =>
    part.type === 'input_text' || part.type === 'output_text'
      ? { ...part, type: 'output_text', annotations: part.annotations ?? [], logprobs: part.logprobs ?? [] }
      : part,
  )
