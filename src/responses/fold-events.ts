import type { OutputItem, ResponseEvent, ResponseObject } from './response-types.ts'

/** The Response that a log of its events, or the beginning of one, amounts to. Undefined for no events. */
export function foldEvents(events: Iterable<ResponseEvent>): ResponseObject | undefined {
  let response: ResponseObject | undefined
  for (const event of events) {
    if ('response' in event) response = { ...event.response, output: [...event.response.output] }
    else if (response) apply(response.output, event)
  }
  return response
}

function apply(output: OutputItem[], event: Exclude<ResponseEvent, { response: ResponseObject }>): void {
  if (event.type === 'response.output_item.added' || event.type === 'response.output_item.done') {
    output[event.output_index] = structuredClone(event.item) as OutputItem
    return
  }
  const item = 'output_index' in event ? output[event.output_index] : undefined
  if (!item) return
  if (event.type === 'response.content_part.added' || event.type === 'response.content_part.done') {
    const content = contentOf(item)
    if (content) content[event.content_index] = structuredClone(event.part)
    return
  }
  const part = 'content_index' in event ? contentOf(item)?.[event.content_index] : undefined
  switch (event.type) {
    case 'response.output_text.delta':
      if (part?.type !== 'output_text') return
      part.text += event.delta
      part.logprobs?.push(...(structuredClone(event.logprobs) as typeof part.logprobs))
      return
    case 'response.output_text.annotation.added':
      if (part?.type === 'output_text') part.annotations[event.annotation_index] = event.annotation as never
      return
    case 'response.refusal.delta':
      if (part?.type === 'refusal') part.refusal += event.delta
      return
    case 'response.reasoning_text.delta':
      if (part?.type === 'reasoning_text') part.text += event.delta
      return
    case 'response.function_call_arguments.delta':
      if (item.type === 'function_call') item.arguments += event.delta
      return
    case 'response.custom_tool_call_input.delta':
      if (item.type === 'custom_tool_call') item.input += event.delta
      return
    default: // What else there is repeats what came before.
  }
}

type Part = Extract<ResponseEvent, { type: 'response.content_part.added' }>['part']

const contentOf = (item: OutputItem): Part[] | undefined =>
  item.type === 'message' || item.type === 'reasoning' ? (item.content as Part[] | undefined) : undefined
