import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'
import { unsupported } from './refusals.ts'

type UserContent = Extract<ChatMessage, { role: 'user' }>['content']
type UserPart = Exclude<UserContent, string>[number]
type TextPart = Extract<UserPart, { type: 'text' }>
type Fields = Readonly<Record<string, unknown>>

/** What a user shows, or a tool answers. A lone text becomes a string, which every server understands. */
export function shownContent(content: string | readonly object[], path: string): UserContent {
  if (typeof content === 'string') return content
  return simplest(content.map((part, index) => shownPart(part as Fields, `${path}[${index}]`)))
}

/** Of texts only, as system messages and most tool results are. */
export function textContent(content: string | readonly object[], path: string): string | TextPart[] {
  if (typeof content === 'string') return content
  return simplest(
    content.map((part, index) => {
      const shown = shownPart(part as Fields, `${path}[${index}]`)
      if (shown.type === 'text') return shown
      throw unsupported(`${path}[${index}].type`, `there can only be text in ${path}`)
    }),
  )
}

/** What a model has said: its text, and what it refused with. */
export function saidContent(content: readonly object[], path: string): { text?: string; refusal?: string } {
  const said: { text?: string; refusal?: string } = {}
  for (const [index, part] of (content as readonly Fields[]).entries()) {
    if (part.type === 'output_text') said.text = (said.text ?? '') + part.text
    else if (part.type === 'refusal') said.refusal = (said.refusal ?? '') + part.refusal
    else throw unknownPart(part, `${path}[${index}]`)
  }
  return said
}

function simplest<Part extends UserPart>(parts: Part[]): string | Part[] {
  const [first, ...others] = parts
  if (!first) return ''
  const isBare = first.type === 'text' && others.length === 0 && Object.keys(first).length === 2
  return isBare ? first.text : parts
}

function shownPart(part: Fields, path: string): UserPart {
  const { prompt_cache_breakpoint } = part
  const shown = plainPart(part, path)
  return (isObject(prompt_cache_breakpoint) ? { ...shown, prompt_cache_breakpoint } : shown) as UserPart
}

function plainPart(part: Fields, path: string): object {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text }
    case 'input_audio':
      return { type: 'input_audio', input_audio: part.input_audio }
    case 'input_image': {
      if (!part.image_url)
        throw unsupported(`${path}.image_url`, 'images are taken by their URL only, not as stored files')
      return { type: 'image_url', image_url: { url: part.image_url, ...detailOf(part.detail) } }
    }
    case 'input_file': {
      if (part.file_url) throw unsupported(`${path}.file_url`, 'files are taken by their data or id, not by a URL')
      const { filename, file_data, file_id } = part
      const file = Object.entries({ filename, file_data, file_id }).filter(([, value]) => value != null)
      return { type: 'file', file: Object.fromEntries(file) }
    }
    default:
      throw unknownPart(part, path)
  }
}

/** Chat completions have no finer detail than `high`. */
const detailOf = (detail: unknown): { detail?: unknown } =>
  detail === 'original' ? { detail: 'high' } : detail == null ? {} : { detail }

const unknownPart = ({ type }: Fields, path: string) =>
  unsupported(`${path}.type`, `content of the type "${String(type)}" is not supported here`)
