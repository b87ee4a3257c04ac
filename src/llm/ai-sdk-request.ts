import type { LanguageModelV4CallOptions, SharedV4ProviderOptions } from '@ai-sdk/provider'
import { GatewayError } from '../server/errors.ts'
import type { ChatRequest } from '../types.ts'
import { toPrompt } from './ai-sdk-prompt.ts'
import { toToolChoice, toTools } from './ai-sdk-tools.ts'

export interface SDKRequest {
  options: LanguageModelV4CallOptions
  /** What of the request cannot be said to any provider behind the AI SDK. */
  warnings: string[]
}

const numbers = [
  ['temperature', 'temperature'],
  ['top_p', 'topP'],
  ['top_k', 'topK'],
  ['seed', 'seed'],
  ['frequency_penalty', 'frequencyPenalty'],
  ['presence_penalty', 'presencePenalty'],
] as const

const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

/** Fields that are translated, or that the gateway itself reads. */
const understood = new Set<string>([
  ...numbers.map(([field]) => field),
  ...['model', 'messages', 'stream', 'stream_options', 'metadata', 'user', 'store'],
  ...['max_tokens', 'max_completion_tokens', 'stop', 'tools', 'tool_choice', 'response_format', 'reasoning_effort'],
])

/** Each is a line of the log: a request can hold a million fields that nobody knows. */
const mostReported = 20

/** Values that ask for what happens anyway. */
const neutral: Readonly<Record<string, unknown>> = {
  n: 1,
  logprobs: false,
  frequency_penalty: 0,
  presence_penalty: 0,
  parallel_tool_calls: true,
  service_tier: 'auto',
}

const asksForNothing = (field: string, value: unknown): boolean =>
  value === undefined || value === null || value === neutral[field]

/**
 * A chat-completions request as options of the AI SDK, for a provider of this kind.
 *
 * @throws GatewayError `invalid_request` for what cannot be translated.
 */
export function toSDKRequest(request: ChatRequest, kind: string): SDKRequest {
  try {
    return translate(request, kind)
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause
    // The front looks at little of a request: the rest is the provider's to judge, and here none judges before us.
    throw new GatewayError('invalid_request', "the request is not in the format of OpenAI's chat completions", {
      cause,
    })
  }
}

function translate(request: ChatRequest, kind: string): SDKRequest {
  const { prompt, moved } = toPrompt(request.messages, kind)
  const options: LanguageModelV4CallOptions = { prompt }
  const unsupported = new Set(
    Object.entries(request).flatMap(([field, value]) =>
      understood.has(field) || asksForNothing(field, value) ? [] : [field],
    ),
  )
  for (const [field, option] of numbers) {
    const value = request[field]
    if (asksForNothing(field, value)) continue
    if (typeof value === 'number') options[option] = value
    else unsupported.add(field)
  }
  const maxTokens = request.max_completion_tokens ?? request.max_tokens
  if (typeof maxTokens === 'number') options.maxOutputTokens = maxTokens
  else if (maxTokens) unsupported.add('max_completion_tokens')
  if (request.stop) options.stopSequences = [request.stop].flat()

  const effort = efforts.find((each) => each === request.reasoning_effort)
  if (effort) options.reasoning = effort
  else if (request.reasoning_effort) unsupported.add('reasoning_effort')

  const format = request.response_format
  if (format?.type === 'json_object') options.responseFormat = { type: 'json' }
  if (format?.type === 'json_schema') {
    const { name, description, schema } = format.json_schema
    options.responseFormat = { type: 'json', name, ...(schema && { schema }), ...(description && { description }) }
  }

  for (const { type } of request.tools ?? []) if (type !== 'function') unsupported.add(`a tool of the type ${type}`)
  const tools = toTools(request.tools)
  if (tools.length > 0) {
    options.tools = tools
    const choice = toToolChoice(request.tool_choice)
    if (choice) options.toolChoice = choice
    else if (request.tool_choice) unsupported.add('tool_choice')
  }
  const providerOptions = ownOptions(request, effort, kind)
  if (providerOptions) options.providerOptions = providerOptions
  if (kind === 'anthropic') unsupported.delete('parallel_tool_calls')
  const reported = [...unsupported].slice(0, mostReported)
  const warnings = reported.map((field) => `${field} is not supported by ${kind} and was ignored`)
  const left = unsupported.size - reported.length
  if (left > 0) warnings.push(`${left} more fields are not supported by ${kind} and were ignored`)
  if (moved) warnings.push('a system message in the middle of the conversation was moved to its beginning')
  return { options, warnings }
}

/** What OpenAI's format can ask for and the AI SDK has no common option for. */
function ownOptions(
  request: ChatRequest,
  effort: (typeof efforts)[number] | undefined,
  kind: string,
): SharedV4ProviderOptions | undefined {
  switch (kind) {
    case 'anthropic':
      return request.parallel_tool_calls === false ? { anthropic: { disableParallelToolUse: true } } : undefined
    case 'google':
    case 'vertex':
      // Without this Gemini thinks, and bills for it, but does not tell what.
      return effort && effort !== 'none' ? { google: { thinkingConfig: { includeThoughts: true } } } : undefined
    default:
      return undefined
  }
}
