import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chart } from './helm.ts'

/** A fenced block of the page "From zero to production". */
export interface Block {
  /** What the comment before it says: `values`, `redis.conf`, …; empty when there is none. */
  mark: string
  language: string
  text: string
  line: number
}

/** Where it is. */
export const pagePath = join(chart, 'PRODUCTION.md')

export const page = readFileSync(pagePath, 'utf8')

export const blocks: readonly Block[] = [...page.matchAll(/(?:^<!-- (.*) -->\n)?^```(\w*)\n([\s\S]*?)^```$/gm)].map(
  ({ index, 1: mark = '', 2: language = '', 3: text = '' }) => ({
    mark,
    language,
    text,
    line: page.slice(0, index).split('\n').length,
  }),
)

/** The page without its blocks. */
export const prose = page.replaceAll(/^```[\s\S]*?^```$/gm, '')

/** What is in backticks in the text. */
export const codeSpans = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)

/** The one block with this mark. Throws when there is none, or more. */
export function blockOf(mark: string): string {
  const found = blocks.filter((block) => block.mark === mark)
  const [one] = found
  if (!one || found.length > 1) throw new Error(`${found.length} blocks of ${mark}`)
  return one.text
}
