import { isObject } from '../json.ts'

/** What a message says: a text, or parts of several kinds, as OpenAI's requests and Mistral's answers have them. */
type Content = string | readonly unknown[]

const partsOf = (content: Content): readonly unknown[] =>
  typeof content !== 'string' ? content : content ? [{ type: 'text', text: content }] : []

/** The text of a message's content; of parts, that of those that are text. */
export function textIn(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : '')).join('')
}

/** One content behind the other. Neither is changed. */
export function joinContent(before: Content, after: Content): Content {
  if (typeof before === 'string' && typeof after === 'string') return before + after
  const head = [...partsOf(before)]
  const last = head.at(-1)
  // A text that comes in pieces stays one part.
  if (typeof after === 'string' && isObject(last) && last.type === 'text' && typeof last.text === 'string') {
    return [...head.slice(0, -1), { ...last, text: last.text + after }]
  }
  return [...head, ...partsOf(after)]
}
