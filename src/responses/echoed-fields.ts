import type { ResponseObject, ResponseRequest } from './response-types.ts'

type Tool = ResponseObject['tools'][number]

/** What every Response repeats of its request; null where the provider's own default holds, which is not known here. */
export function echoedFields(
  request: ResponseRequest,
): Omit<ResponseObject, 'id' | 'created_at' | 'object' | 'output'> {
  const { conversation, reasoning, text, user, service_tier } = request
  return {
    model: request.model,
    error: null,
    incomplete_details: null,
    instructions: request.instructions ?? null,
    metadata: request.metadata ?? {},
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    temperature: request.temperature ?? null,
    tool_choice: request.tool_choice ?? 'auto',
    tools: (request.tools ?? []).map(echoedTool),
    top_p: request.top_p ?? null,
    background: request.background ?? false,
    completed_at: null,
    conversation:
      typeof conversation === 'string' ? { id: conversation } : conversation ? { id: conversation.id } : null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: request.max_tool_calls ?? null,
    previous_response_id: request.previous_response_id ?? null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    reasoning: { ...reasoning, effort: reasoning?.effort ?? null, summary: reasoning?.summary ?? null },
    safety_identifier: request.safety_identifier ?? null,
    service_tier: service_tier ?? 'auto',
    store: request.store ?? true,
    text: { ...text, format: text?.format ?? { type: 'text' } },
    top_logprobs: request.top_logprobs ?? 0,
    truncation: request.truncation ?? 'disabled',
    ...(user == null ? {} : { user }),
  }
}

const echoedTool = (tool: Tool): Tool =>
  tool.type === 'function' ? { ...tool, strict: tool.strict ?? false, parameters: tool.parameters ?? null } : tool
