import type { ChatRequest } from '../types.ts'
import { toMessages } from './chat-messages.ts'
import { toChatTools } from './chat-tools.ts'
import { unknownIncludes } from './includes.ts'
import { invalid, unsupported } from './refusals.ts'
import type { ResponseRequest, StoredItem } from './response-types.ts'

/** What is said in another way, or is the gateway's own business. All other fields pass. */
const ownFields = new Set([
  'background',
  'context_management',
  'conversation',
  'include',
  'input',
  'instructions',
  'max_output_tokens',
  'max_tool_calls',
  // OpenAI takes metadata only together with `store`.
  'metadata',
  'parallel_tool_calls',
  'previous_response_id',
  'prompt',
  'reasoning',
  'store',
  'stream',
  'stream_options',
  'text',
  'tool_choice',
  'tools',
  'top_logprobs',
  'truncation',
])

/**
 * A request of the Responses API as one of chat completions, without `stream`.
 *
 * @param items What the model is to see: the items of earlier turns, then those of the request's own input.
 * @param onWarning Hears of each field that chat completions cannot express.
 * @throws GatewayError `unsupported` or `invalid_request`, whose `param` names what cannot be translated
 */
export function toChatRequest(
  request: ResponseRequest,
  items: readonly StoredItem[],
  onWarning: (warning: string) => void = () => {},
): ChatRequest {
  const { instructions, max_output_tokens: limit, text, reasoning, prompt } = request
  if (prompt) throw unsupported('prompt', 'stored prompts are not supported')
  const messages = toMessages(items, pathsOf(request, items))
  if (messages.length === 0) throw invalid('input', "'input' is empty: there is nothing to answer")
  for (const warning of lostIn(request)) onWarning(warning)
  const passed = Object.entries(request).filter(([name, value]) => !ownFields.has(name) && value != null)
  return {
    ...Object.fromEntries(passed),
    model: request.model,
    // Not `developer`, which many models behind chat completions have never heard of.
    messages: instructions ? [{ role: 'system', content: instructions }, ...messages] : messages,
    ...toChatTools(request),
    ...(limit == null ? {} : { max_completion_tokens: limit }),
    ...formatOf(text),
    ...(text?.verbosity ? { verbosity: text.verbosity } : {}),
    ...(reasoning?.effort ? { reasoning_effort: reasoning.effort } : {}),
    ...logprobsOf(request),
  }
}

/** Items before the request's own are not in its body: a fault in one is the fault of what names them. */
function pathsOf(request: ResponseRequest, items: readonly StoredItem[]): (index: number) => string {
  if (!Array.isArray(request.input)) return () => 'input'
  const start = items.length - request.input.length
  return (index) => (index < start ? 'input' : `input[${index - start}]`)
}

function formatOf(text: ResponseRequest['text']): Pick<ChatRequest, 'response_format'> {
  const format = text?.format
  switch (format?.type) {
    case undefined:
    case 'text':
      return {}
    case 'json_object':
      return { response_format: { type: 'json_object' } }
    case 'json_schema': {
      const { type, ...json_schema } = format
      return { response_format: { type, json_schema } }
    }
    default:
      throw unsupported(
        'text.format.type',
        `a format of the type "${(format as { type: string }).type}" is not supported`,
      )
  }
}

function logprobsOf({ include, top_logprobs: top }: ResponseRequest): Pick<ChatRequest, 'logprobs' | 'top_logprobs'> {
  if (!top && !include?.includes('message.output_text.logprobs')) return {}
  return { logprobs: true, ...(top ? { top_logprobs: top } : {}) }
}

function lostIn({ max_tool_calls, context_management, include, reasoning }: ResponseRequest): string[] {
  const asked = Object.entries(reasoning ?? {}).filter(([name, value]) => name !== 'effort' && value != null)
  return [
    ...(max_tool_calls == null ? [] : ['max_tool_calls is ignored: it counts built-in tools, and there are none']),
    ...(context_management == null ? [] : ['context_management is ignored: this model cannot be asked for it']),
    ...asked.map(([name]) => `reasoning.${name} is ignored: this model cannot be asked for it`),
    ...unknownIncludes(include ?? []),
  ]
}
