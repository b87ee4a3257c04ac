import { copyJSON, isObject } from '../json.ts'
import type { OutputItem, ResponseEvent, ResponseObject } from './response-types.ts'

/** What a Response comes to by a log of its events, or a part of one. */
export function foldEvents(before: ResponseObject, events: Iterable<ResponseEvent>): ResponseObject {
  let response = before
  for (const event of events) {
    if ('response' in event) {
      // Of a provider's own event nothing is certain.
      if (Array.isArray(event.response?.output)) response = { ...event.response, output: [...event.response.output] }
      continue
    }
    if (response === before) response = { ...before, output: copyJSON(before.output) }
    applyEvent(response.output, event)
  }
  return response
}

type OutputEvent = Exclude<ResponseEvent, { response: ResponseObject }>
type Fields = Record<string, unknown>

/** What a delta makes longer: a field of its part, of its part of a summary, or of the item itself. */
const growing: Readonly<Record<string, string>> = {
  'response.code_interpreter_call_code.delta': 'code',
  'response.custom_tool_call_input.delta': 'input',
  'response.function_call_arguments.delta': 'arguments',
  'response.mcp_call_arguments.delta': 'arguments',
  'response.output_text.delta': 'text',
  'response.reasoning_summary_text.delta': 'text',
  'response.reasoning_text.delta': 'text',
  'response.refusal.delta': 'refusal',
}

/** Changes the items in place. An event of a type that is not known changes nothing: its item comes again when it is done. */
export function applyEvent(output: OutputItem[], event: OutputEvent): void {
  if (event.type === 'response.output_item.added' || event.type === 'response.output_item.done') {
    if (isObject(event.item)) put(output, event.output_index, copyJSON(event.item) as OutputItem)
    return
  }
  const item: unknown = 'output_index' in event ? output[event.output_index] : undefined
  if (!isObject(item)) return
  switch (event.type) {
    case 'response.content_part.added':
    case 'response.content_part.done':
      put(listIn(item, 'content'), event.content_index, copyJSON(event.part))
      return
    case 'response.reasoning_summary_part.added':
    case 'response.reasoning_summary_part.done':
      put(listIn(item, 'summary'), event.summary_index, copyJSON(event.part))
      return
    case 'response.output_text.annotation.added': {
      const part = listIn(item, 'content')[event.content_index]
      if (isObject(part)) put(listIn(part, 'annotations'), event.annotation_index, event.annotation)
      return
    }
    default: {
      const field = growing[event.type]
      const grown = 'delta' in event && field ? grownBy(event, item) : undefined
      if (!field || !isObject(grown) || !('delta' in event)) return
      const before = grown[field] ?? ''
      if (typeof before === 'string') grown[field] = before + event.delta
      if ('logprobs' in event && event.logprobs?.length) {
        listIn(grown, 'logprobs').push(...copyJSON(event.logprobs))
      }
    }
  }
}

function grownBy(event: OutputEvent, item: Fields): unknown {
  if ('content_index' in event) return listIn(item, 'content')[event.content_index]
  if ('summary_index' in event) return listIn(item, 'summary')[event.summary_index]
  return item
}

/** The list in a field; a new one where there is none yet. */
function listIn(fields: Fields, name: string): unknown[] {
  const list = fields[name]
  if (Array.isArray(list)) return list
  const fresh: unknown[] = []
  fields[name] = fresh
  return fresh
}

/** A provider's number may be anything: one that is not that of an item, nor of the next one, is ignored. */
function put<Item>(list: Item[], index: unknown, item: Item): void {
  if (typeof index === 'number' && Number.isInteger(index) && index >= 0 && index <= list.length) list[index] = item
}
