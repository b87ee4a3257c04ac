import { Type } from 'typebox'
import { AnyObject, bodyOf, Model, Nullable } from '../body-schema.ts'
import { isObject } from '../json.ts'
import { asInputItems } from './item-schema.ts'
import { invalid } from './refusals.ts'
import type { ResponseRequest } from './response-types.ts'

const Text = Type.String()

/** Types only: values and ranges are the upstream's to judge, as those of chat completions are. */
const ResponseBody = Type.Object({
  model: Model,
  input: Nullable(Type.Union([Text, Type.Array(AnyObject)])),
  instructions: Nullable(Text),
  previous_response_id: Nullable(Text),
  conversation: Nullable(Type.Union([Text, AnyObject])),
  store: Nullable(Type.Boolean()),
  background: Nullable(Type.Boolean()),
  stream: Nullable(Type.Boolean()),
  stream_options: Nullable(AnyObject),
  tools: Nullable(Type.Array(Type.Object({ type: Text }))),
  tool_choice: Nullable(Type.Union([Text, AnyObject])),
  parallel_tool_calls: Nullable(Type.Boolean()),
  max_tool_calls: Nullable(Type.Integer()),
  max_output_tokens: Nullable(Type.Integer()),
  text: Nullable(Type.Object({ format: Nullable(Type.Object({ type: Text })), verbosity: Nullable(Text) })),
  reasoning: Nullable(Type.Object({ effort: Nullable(Text) })),
  include: Nullable(Type.Array(Text)),
  truncation: Nullable(Text),
  metadata: Nullable(AnyObject),
  temperature: Nullable(Type.Number()),
  top_p: Nullable(Type.Number()),
  top_logprobs: Nullable(Type.Integer()),
  user: Nullable(Text),
  safety_identifier: Nullable(Text),
  prompt: Nullable(AnyObject),
  prompt_cache_key: Nullable(Text),
  service_tier: Nullable(Text),
})

const Conversation = Type.Object({ id: Text })
const ToolChoice = Type.Object({
  type: Text,
  name: Nullable(Text),
  tools: Nullable(Type.Array(Type.Object({ type: Text }))),
})
const FunctionTool = Type.Object({
  name: Text,
  description: Nullable(Text),
  parameters: Nullable(AnyObject),
  strict: Nullable(Type.Boolean()),
})
const CustomTool = Type.Object({
  name: Text,
  description: Nullable(Text),
  format: Nullable(Type.Object({ type: Text })),
})

const body = bodyOf(ResponseBody)
const objects = { conversation: bodyOf(Conversation), tool_choice: bodyOf(ToolChoice) }
const tools = { function: bodyOf(FunctionTool), custom: bodyOf(CustomTool) }
const objectFields = [
  'conversation',
  'stream_options',
  'tool_choice',
  'text',
  'reasoning',
  'metadata',
  'prompt',
] as const

/**
 * Types of items and tools that cannot be translated pass, since a provider may know them; `toChatRequest` refuses them.
 *
 * @throws GatewayError `invalid_request` whose `param` names the field
 */
export function asResponseRequest(value: unknown): ResponseRequest {
  if (!body.fits(value)) throw body.refusal(value)
  const request = value as ResponseRequest
  // A number that is kept as text is an object to the schema.
  const odd = objectFields.find(
    (name) => typeof request[name] === 'object' && request[name] && !isObject(request[name]),
  )
  if (odd) throw invalid(odd, `invalid value for '${odd}': must be object or null`)
  for (const [name, schema] of Object.entries(objects)) {
    const field = request[name]
    if (isObject(field) && !schema.fits(field)) throw schema.refusal(field, name)
  }
  if (Array.isArray(request.input)) asInputItems(request.input, 'input')
  for (const [index, tool] of (request.tools ?? []).entries()) {
    if (tool.type !== 'function' && tool.type !== 'custom') continue
    if (!tools[tool.type].fits(tool)) throw tools[tool.type].refusal(tool, `tools[${index}]`)
  }
  const { previous_response_id, conversation, input, prompt } = request
  if (previous_response_id && conversation) {
    throw invalid('previous_response_id', "'previous_response_id' and 'conversation' cannot be used together")
  }
  if (request.background && request.store === false) {
    throw invalid('background', "a background response must be stored: 'background' needs 'store' to be true")
  }
  if ((input ?? previous_response_id ?? conversation ?? prompt) == null) {
    throw invalid('input', "missing required parameter: 'input'")
  }
  return request
}
