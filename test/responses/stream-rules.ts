import type { OutputItem, ResponseEvent } from '../../src/responses/response-types.ts'
import { assertSchema } from '../openapi.ts'

type OutputEvent = Extract<ResponseEvent, { output_index: number }>

const terminal = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** Throws when events are not as the API describes them: each by its schema, numbered without a gap, begun and ended in pairs. */
export function assertStream(events: readonly ResponseEvent[]): void {
  for (const [index, event] of events.entries()) {
    assertSchema('ResponseStreamEvent', event)
    if (event.sequence_number !== index) throw new Error(`event ${index} has the number ${event.sequence_number}`)
    if (terminal.has(event.type) !== (index === events.length - 1)) throw new Error(`${event.type} is not at the end`)
  }
  if (events[0]?.type !== 'response.created') throw new Error('the first event is not response.created')
  const items = events.filter((event): event is OutputEvent => 'output_index' in event)
  const indices = new Set(items.map(({ output_index }) => output_index))
  for (const index of indices) assertItem(items.filter(({ output_index }) => output_index === index))
  const added = items.flatMap(({ type, output_index }) => (type === 'response.output_item.added' ? [output_index] : []))
  if (added.some((index, place) => index !== place)) throw new Error(`items were added in the order ${added}`)
}

/** One item: added first, done last, both once; its parts one after the other, their deltas between their ends. */
function assertItem(events: readonly OutputEvent[]): void {
  const types = events.map(({ type }) => type)
  const [first, last] = [events[0], events.at(-1)]
  const count = (type: string): number => types.filter((each) => each === type).length
  if (first?.type !== 'response.output_item.added' || last?.type !== 'response.output_item.done') {
    throw new Error(`an item begins with ${types[0]} and ends with ${types.at(-1)}`)
  }
  if (count('response.output_item.added') !== 1 || count('response.output_item.done') !== 1) {
    throw new Error('an item is added or done twice')
  }
  const item = last.item as OutputItem
  if (first.item.id !== item.id || item.status === 'in_progress') throw new Error(`an item ends as ${item.status}`)
  const ids = new Set(events.flatMap((event) => ('item_id' in event ? [event.item_id] : [])))
  if (ids.size > 0 && (ids.size > 1 || !ids.has(item.id))) throw new Error('events of an item have the id of another')
  let open: number | undefined
  for (const event of events) {
    if (!('content_index' in event)) continue
    if (event.type === 'response.content_part.added') {
      if (open !== undefined) throw new Error('a part begins within another')
      open = event.content_index
    } else if (event.content_index !== open) throw new Error(`${event.type} outside of its part`)
    if (event.type === 'response.content_part.done') open = undefined
  }
  if (open !== undefined) throw new Error('a part has no end')
}
