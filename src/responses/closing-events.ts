import { isObject } from '../json.ts'
import type { EventBody, OutputItem } from './response-types.ts'

/** As the tools of providers call it, too. */
const underWay = new Set(['in_progress', 'searching', 'interpreting', 'generating', 'calling'])
/** Items that know no `incomplete`. */
const failing = new Set<string>(['image_generation_call', 'web_search_call'])

/** An item as it is when nobody goes on with it. */
export const cutOff = (item: OutputItem): OutputItem =>
  isOpen(item) ? ({ ...item, status: failing.has(item.type) ? 'failed' : 'incomplete' } as OutputItem) : item

/** The events that end each item that is still open, when nobody goes on with it. */
export const closingEvents = (output: readonly OutputItem[]): EventBody[] =>
  output.flatMap((item, output_index) => {
    if (!isObject(item) || !isOpen(item)) return []
    const place = { item_id: item.id ?? '', output_index }
    return [
      ...contentEnd(item, place),
      { type: 'response.output_item.done', output_index, item: cutOff(item) } as EventBody,
    ]
  })

const isOpen = (item: OutputItem): boolean => isObject(item) && underWay.has(item.status ?? '')

/** Of a list of parts only the last can be open. */
function contentEnd(item: OutputItem, place: { item_id: string; output_index: number }): EventBody[] {
  if (item.type === 'function_call') {
    const { name, arguments: input } = item
    // The SDK's type does not know the name; the API's description asks for it.
    const end = { type: 'response.function_call_arguments.done' as const, ...place, name, arguments: input }
    return [end]
  }
  if (item.type === 'custom_tool_call') {
    return [{ type: 'response.custom_tool_call_input.done', ...place, input: item.input }]
  }
  if (item.type !== 'message' && item.type !== 'reasoning') return []
  const part = item.content?.at(-1)
  if (!part) return []
  const partPlace = { ...place, content_index: (item.content?.length ?? 1) - 1 }
  const end = { type: 'response.content_part.done', ...partPlace, part } as EventBody
  switch (part.type) {
    case 'output_text':
      return [
        {
          type: 'response.output_text.done',
          ...partPlace,
          text: part.text,
          logprobs: part.logprobs ?? [],
        } as EventBody,
        end,
      ]
    case 'refusal':
      return [{ type: 'response.refusal.done', ...partPlace, refusal: part.refusal }, end]
    default:
      return [{ type: 'response.reasoning_text.done', ...partPlace, text: part.text }, end]
  }
}
