import type {
  LanguageModelV4FilePart,
  LanguageModelV4TextPart,
  LanguageModelV4ToolResultOutput,
} from '@ai-sdk/provider'
import { GatewayError } from '../server/errors.ts'
import type { ChatRequest } from '../types.ts'

type UserContent = Extract<ChatRequest['messages'][number], { role: 'user' }>['content']
type UserPart = Exclude<UserContent, string>[number]
/** OpenAI's own models take texts only; many servers, and their clients, show images there as well. */
type ToolContent = Extract<ChatRequest['messages'][number], { role: 'tool' }>['content'] | UserPart[]

/** Providers want to know what is behind a URL, and nothing but its ending says so; the rest is for the provider to find out. */
const imageTypes: Readonly<Record<string, string>> = {
  gif: 'image/gif',
  heic: 'image/heic',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
}

/** Providers refuse a text that is empty, even beside others. A message of nothing else is theirs to refuse. */
export function userContent(
  content: UserContent | null | undefined,
  path: string,
  kind: string,
): (LanguageModelV4TextPart | LanguageModelV4FilePart)[] {
  const parts: UserPart[] = typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])
  return parts
    .map((part, index) => userPart(part, `${path}.content[${index}]`, kind))
    .filter((part) => part.type !== 'text' || part.text !== '')
}

/** The text comes first, and is never missing: Gemini up to 2.5 has the result in it, and the files beside. */
export function toolOutput(content: ToolContent, path: string, kind: string): LanguageModelV4ToolResultOutput {
  const text = textOf(content)
  const files = userContent(content as UserContent, path, kind).filter((part) => part.type === 'file')
  if (files.length === 0) return { type: 'text', value: text }
  // Some of the SDK's packages fetch what a URL here names: the gateway would call any address that a client gives it.
  if (kind !== 'anthropic' && files.some(({ data }) => data.type === 'url')) {
    throw invalid(`${path}.content`, 'this provider takes the files of a tool result as data URLs only')
  }
  return { type: 'content', value: [{ type: 'text', text: text || 'See the file.' }, ...files] }
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
  const [, mediaType, base64, data] = /^data:([^;,]*)(?:;(?!base64,)[^;,]*)*(;base64)?,(.*)$/is.exec(address) ?? []
  if (data === undefined) throw invalid(path, `${path} is not a data URL`)
  return {
    type: 'file',
    data: { type: 'data', data: base64 ? data : Buffer.from(decodeURIComponent(data)).toString('base64') },
    mediaType: mediaType || otherwise,
  }
}

/** Texts and refusals, in order. */
export function textOf(
  content: string | { type: string; text?: string; refusal?: string }[] | null | undefined,
): string {
  if (typeof content === 'string') return content
  return (content ?? []).map(({ text, refusal }) => text ?? refusal ?? '').join('')
}

export const invalid = (param: string, message: string): GatewayError =>
  new GatewayError('invalid_request', message, { param })
