import { createHash } from 'node:crypto'
import type {
  LanguageModelV4Message,
  LanguageModelV4Prompt,
  LanguageModelV4ReasoningPart,
  LanguageModelV4TextPart,
  LanguageModelV4ToolCallPart,
  SharedV4ProviderOptions,
} from '@ai-sdk/provider'
import { isObject, parseJSON } from '../json.ts'
import type { ChatRequest } from '../types.ts'
import { invalid, textOf, toolOutput, userContent } from './ai-sdk-parts.ts'

type Message = ChatRequest['messages'][number]
/** With what an answer holds beside OpenAI's fields, and clients send back. */
type Assistant = Extract<Message, { role: 'assistant' }> & { reasoning_content?: unknown; extra_content?: unknown }

export interface SDKPrompt {
  prompt: LanguageModelV4Prompt
  /** A system message came after the conversation had begun; it now stands before it. */
  moved: boolean
}

/**
 * OpenAI's messages as a prompt of the AI SDK. `kind` is the provider whose ids the `file_id`s are.
 *
 * System messages go first: that is the only place where all providers and all their models take them.
 *
 * @throws GatewayError `invalid_request` that names the field, for what cannot be said in any other format.
 */
export function toPrompt(messages: ChatRequest['messages'], kind: string): SDKPrompt {
  const system: LanguageModelV4Prompt = []
  const turns: LanguageModelV4Prompt = []
  const toolNames = new Map<string, string>()
  let moved = false
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    switch (message.role) {
      case 'system':
      case 'developer': {
        const content = textOf(message.content)
        if (!content.trim()) break
        moved ||= turns.length > 0
        system.push({ role: 'system', content })
        break
      }
      case 'user':
        turns.push({ role: 'user', content: userContent(message.content, path, kind) })
        break
      case 'assistant': {
        for (const call of message.tool_calls ?? []) if ('function' in call) toolNames.set(call.id, call.function.name)
        const content = assistantContent(message, path)
        if (content.length > 0) turns.push({ role: 'assistant', content })
        break
      }
      case 'tool': {
        const toolName = toolNames.get(message.tool_call_id)
        if (toolName === undefined) {
          throw invalid(`${path}.tool_call_id`, `no tool call before ${path} has the id "${message.tool_call_id}"`)
        }
        const output = toolOutput(message.content, path, kind)
        resultsOf(turns).push({ type: 'tool-result', toolCallId: callId(message.tool_call_id), toolName, output })
        break
      }
      default:
        throw invalid(`${path}.role`, `messages of the role "${message.role}" are not supported by this provider`)
    }
  }
  return { prompt: [...system, ...turns], moved }
}

/** The results of parallel calls belong into one message. */
function resultsOf(turns: LanguageModelV4Prompt): Extract<LanguageModelV4Message, { role: 'tool' }>['content'] {
  const last = turns.at(-1)
  if (last?.role === 'tool') return last.content
  const content: Extract<LanguageModelV4Message, { role: 'tool' }>['content'] = []
  turns.push({ role: 'tool', content })
  return content
}

/** Providers are strict about ids, and the call may be another provider's: Kimi's are `functions.weather:0`. */
const callId = (id: string): string =>
  /^[\w-]{1,64}$/.test(id) ? id : `call_${createHash('sha256').update(id).digest('hex').slice(0, 32)}`

function assistantContent(
  message: Assistant,
  path: string,
): (LanguageModelV4TextPart | LanguageModelV4ReasoningPart | LanguageModelV4ToolCallPart)[] {
  const { reasoning_content: reasoning, extra_content: extra } = message
  const text = textOf(message.content ?? message.refusal)
  return [
    ...(typeof reasoning === 'string' && reasoning
      ? [{ type: 'reasoning' as const, text: reasoning, ...providerOptions(extra) }]
      : []),
    // Providers refuse an empty text, and one of mere spaces, which is what most clients send beside tool calls.
    ...(text.trim() ? [{ type: 'text' as const, text }] : []),
    ...(message.tool_calls ?? []).map((call, index): LanguageModelV4ToolCallPart => {
      const field = `${path}.tool_calls[${index}]`
      if (!('function' in call)) throw invalid(`${field}.type`, 'custom tool calls are not supported by this provider')
      return {
        type: 'tool-call',
        toolCallId: callId(call.id),
        toolName: call.function.name,
        input: argumentsOf(call.function.arguments, `${field}.function.arguments`),
        ...providerOptions((call as { extra_content?: unknown }).extra_content),
      }
    }),
  ]
}

function argumentsOf(json: string, path: string): unknown {
  if (!json.trim()) return {}
  try {
    return parseJSON(json)
  } catch {
    throw invalid(path, `${path} is not JSON`)
  }
}

/** What the provider wants to see again: a signature of its own thoughts. Sent to clients as `extra_content`, by provider. */
function providerOptions(extra: unknown): { providerOptions?: SharedV4ProviderOptions } {
  if (!isObject(extra) || !Object.values(extra).every(isObject)) return {}
  return { providerOptions: extra as SharedV4ProviderOptions }
}
