import type {
  LanguageModelV4FilePart,
  LanguageModelV4Message,
  LanguageModelV4Prompt,
  LanguageModelV4ReasoningPart,
  LanguageModelV4TextPart,
  LanguageModelV4ToolCallPart,
  SharedV4ProviderOptions,
} from '@ai-sdk/provider'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { ChatRequest } from '../types.ts'

type Message = ChatRequest['messages'][number]
/** With what an answer holds beside OpenAI's fields, and clients send back. */
type Assistant = Extract<Message, { role: 'assistant' }> & { reasoning_content?: unknown; extra_content?: unknown }
type UserPart = Exclude<Extract<Message, { role: 'user' }>['content'], string>[number]

/** Providers want to know what is behind a URL, and nothing but its ending says so; the rest is for the provider to find out. */
const imageTypes: Readonly<Record<string, string>> = {
  gif: 'image/gif',
  heic: 'image/heic',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
}

/**
 * OpenAI's messages as a prompt of the AI SDK. `kind` is the provider whose ids the `file_id`s are.
 *
 * @throws GatewayError `invalid_request` that names the field, for what cannot be said in any other format.
 */
export function toPrompt(messages: ChatRequest['messages'], kind: string): LanguageModelV4Prompt {
  const prompt: LanguageModelV4Prompt = []
  const toolNames = new Map<string, string>()
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    switch (message.role) {
      case 'system':
      case 'developer':
        prompt.push({ role: 'system', content: textOf(message.content) })
        break
      case 'user':
        prompt.push({ role: 'user', content: userContent(message.content, path, kind) })
        break
      case 'assistant':
        for (const call of message.tool_calls ?? []) if ('function' in call) toolNames.set(call.id, call.function.name)
        prompt.push({ role: 'assistant', content: assistantContent(message, path) })
        break
      case 'tool': {
        const toolCallId = message.tool_call_id
        const toolName = toolNames.get(toolCallId)
        if (toolName === undefined) {
          throw invalid(`${path}.tool_call_id`, `no tool call before ${path} has the id "${toolCallId}"`)
        }
        const output = { type: 'text' as const, value: textOf(message.content) }
        resultsOf(prompt).push({ type: 'tool-result', toolCallId, toolName, output })
        break
      }
      default:
        throw invalid(`${path}.role`, `messages of the role "${message.role}" are not supported by this provider`)
    }
  }
  return prompt
}

/** The results of parallel calls belong into one message. */
function resultsOf(prompt: LanguageModelV4Prompt): Extract<LanguageModelV4Message, { role: 'tool' }>['content'] {
  const last = prompt.at(-1)
  if (last?.role === 'tool') return last.content
  const content: Extract<LanguageModelV4Message, { role: 'tool' }>['content'] = []
  prompt.push({ role: 'tool', content })
  return content
}

function assistantContent(
  message: Assistant,
  path: string,
): (LanguageModelV4TextPart | LanguageModelV4ReasoningPart | LanguageModelV4ToolCallPart)[] {
  const { reasoning_content: reasoning, extra_content: extra } = message
  // Providers refuse a text that is empty, which is what most clients send beside tool calls.
  const text = textOf(message.content ?? message.refusal ?? '')
  return [
    ...(typeof reasoning === 'string' && reasoning
      ? [{ type: 'reasoning' as const, text: reasoning, ...providerOptions(extra) }]
      : []),
    ...(text ? [{ type: 'text' as const, text }] : []),
    ...(message.tool_calls ?? []).map((call, index): LanguageModelV4ToolCallPart => {
      const field = `${path}.tool_calls[${index}]`
      if (!('function' in call)) throw invalid(`${field}.type`, 'custom tool calls are not supported by this provider')
      return {
        type: 'tool-call',
        toolCallId: call.id,
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
    return JSON.parse(json)
  } catch {
    throw invalid(path, `${path} is not JSON`)
  }
}

/** What the provider wants to see again: a signature of its own thoughts. Sent to clients as `extra_content`, by provider. */
function providerOptions(extra: unknown): { providerOptions?: SharedV4ProviderOptions } {
  if (!isObject(extra) || !Object.values(extra).every(isObject)) return {}
  return { providerOptions: extra as SharedV4ProviderOptions }
}

function userContent(
  content: string | UserPart[],
  path: string,
  kind: string,
): (LanguageModelV4TextPart | LanguageModelV4FilePart)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return content.map((part, index) => userPart(part, `${path}.content[${index}]`, kind))
}

function userPart(part: UserPart, path: string, kind: string): LanguageModelV4TextPart | LanguageModelV4FilePart {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'image_url':
      return fileAt(part.image_url.url, 'image/*', `${path}.image_url.url`)
    case 'input_audio': {
      const { data, format } = part.input_audio
      return {
        type: 'file',
        data: { type: 'data', data },
        mediaType: format === 'mp3' ? 'audio/mpeg' : `audio/${format}`,
      }
    }
    case 'file': {
      const { file_data: data, file_id: id, filename } = part.file
      const name = filename === undefined ? {} : { filename }
      if (data?.startsWith('data:')) return { ...fileAt(data, 'application/pdf', `${path}.file.file_data`), ...name }
      const mediaType = 'application/pdf'
      if (data !== undefined) return { type: 'file', data: { type: 'data', data }, mediaType, ...name }
      if (id !== undefined) {
        return { type: 'file', data: { type: 'reference', reference: { [kind]: id } }, mediaType, ...name }
      }
      throw invalid(`${path}.file`, 'a file needs file_data or file_id')
    }
    default:
      throw invalid(`${path}.type`, `parts of the type "${(part as { type: string }).type}" are not supported`)
  }
}

/** A file by its URL, or in it (RFC 2397). */
function fileAt(address: string, otherwise: string, path: string): LanguageModelV4FilePart {
  const url = URL.parse(address)
  if (!url) throw invalid(path, `${path} is not a URL`)
  if (url.protocol !== 'data:') {
    const ending = /\.(\w+)$/.exec(url.pathname)?.[1]?.toLowerCase() ?? ''
    return { type: 'file', data: { type: 'url', url }, mediaType: imageTypes[ending] ?? otherwise }
  }
  const [, mediaType, base64, data] = /^data:([^;,]*)(?:;(?!base64,)[^;,]*)*(;base64)?,(.*)$/s.exec(address) ?? []
  if (data === undefined) throw invalid(path, `${path} is not a data URL`)
  return {
    type: 'file',
    data: { type: 'data', data: base64 ? data : Buffer.from(decodeURIComponent(data)).toString('base64') },
    mediaType: mediaType || otherwise,
  }
}

/** Texts and refusals, in order: other parts do not occur where this is asked. */
function textOf(content: string | { type: string; text?: string; refusal?: string }[]): string {
  if (typeof content === 'string') return content
  return content.map(({ text, refusal }) => text ?? refusal ?? '').join('')
}

const invalid = (param: string, message: string): GatewayError =>
  new GatewayError('invalid_request', message, { param })
