import { randomUUID } from 'node:crypto'
import type {
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4GenerateResult,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
  SharedV4Warning,
} from '@ai-sdk/provider'
import { GatewayError } from '../server/errors.ts'
import type { ChatCompletion, FinishReason, Usage } from '../types.ts'
import { malformed } from './answer.ts'

/** A whole answer of the AI SDK as a chat completion. `model` is the one asked for, where the provider names none. */
export function toCompletion(
  { content, finishReason, usage, response }: LanguageModelV4GenerateResult,
  model: string,
  onWarning: (warning: string) => void,
): ChatCompletion {
  const textOf = (type: 'text' | 'reasoning'): string =>
    content.map((part) => (part.type === type ? part.text : '')).join('')
  const thoughts = content.filter((part) => part.type === 'reasoning')
  const reasoning = textOf('reasoning')
  const calls = content.flatMap((part) => (part.type === 'tool-call' && !part.providerExecuted ? [part] : []))
  for (const part of content) if (part.type === 'file') onWarning(lostFile(part))
  const message = {
    role: 'assistant' as const,
    content: textOf('text') || (calls.length > 0 ? null : ''),
    refusal: null,
    ...(reasoning ? { reasoning_content: reasoning } : {}),
    ...(thoughts.length === 1 ? extraContent(thoughts[0]?.providerMetadata) : {}),
    ...(calls.length > 0
      ? {
          tool_calls: calls.map(({ toolCallId, toolName, input, providerMetadata }) => ({
            id: toolCallId,
            type: 'function' as const,
            function: { name: toolName, arguments: input },
            ...extraContent(providerMetadata),
          })),
        }
      : {}),
  }
  const counted = toUsage(usage)
  return {
    id: response?.id ?? newId(),
    object: 'chat.completion',
    created: toSeconds(response?.timestamp),
    model: response?.modelId ?? model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: toFinishReason(finishReason, onWarning) }],
    ...(counted ? { usage: counted } : {}),
  }
}

export const newId = (): string => `chatcmpl-${randomUUID()}`
export const toSeconds = (time = new Date()): number => Math.floor(time.getTime() / 1000)

/** What the provider wants to see again beside a call or a thought: the field is that of Google's own OpenAI endpoint. */
export const extraContent = (metadata: SharedV4ProviderMetadata | undefined): { extra_content?: object } =>
  metadata && Object.keys(metadata).length > 0 ? { extra_content: metadata } : {}

/** @throws GatewayError when the provider did not end its answer. */
export function toFinishReason(
  { unified, raw }: LanguageModelV4FinishReason,
  onWarning: (warning: string) => void,
): FinishReason {
  switch (unified) {
    case 'stop':
    case 'length':
      return unified
    case 'tool-calls':
      return 'tool_calls'
    case 'content-filter':
      return 'content_filter'
    case 'error':
      throw malformed('the upstream provider failed to form its answer')
    case 'interrupted':
      throw truncated()
    case 'other':
      if (raw === undefined) throw truncated()
      onWarning(`the provider ended its answer for a reason of its own: ${raw}`)
      return 'stop'
  }
}

export const truncated = (): GatewayError =>
  new GatewayError('upstream_truncated', 'the upstream provider ended its answer half-way')

/** Undefined when the provider counted nothing. */
export function toUsage({ inputTokens, outputTokens }: LanguageModelV4Usage): Usage | undefined {
  if (inputTokens.total === undefined && outputTokens.total === undefined) return undefined
  const prompt_tokens = inputTokens.total ?? 0
  const completion_tokens = outputTokens.total ?? 0
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: {
      cached_tokens: inputTokens.cacheRead ?? 0,
      ...(inputTokens.cacheWrite === undefined ? {} : { cache_write_tokens: inputTokens.cacheWrite }),
    },
    completion_tokens_details: { reasoning_tokens: outputTokens.reasoning ?? 0 },
  }
}

const otherNames: Readonly<Record<string, string>> = {
  maxOutputTokens: 'max_completion_tokens',
  reasoning: 'reasoning_effort',
  stopSequences: 'stop',
}

/** A warning of the AI SDK as a sentence, with the parameter named as OpenAI does. */
export function toWarning(warning: SharedV4Warning, kind: string): string {
  if (warning.type === 'other') return `${kind}: ${warning.message}`
  if (warning.type === 'deprecated') return `${kind}: ${warning.setting} is deprecated: ${warning.message}`
  const field =
    otherNames[warning.feature] ?? warning.feature.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  const details = warning.details ? `: ${warning.details}` : ''
  const problem = warning.type === 'unsupported' ? 'is not supported' : 'is only partly supported'
  return `${field} ${problem} by ${kind}${details}`
}

/** OpenAI's answers have no place for it. */
export const lostFile = ({ mediaType }: Extract<LanguageModelV4Content, { type: 'file' }>): string =>
  `the answer held a file of the type ${mediaType}, which was left out`
