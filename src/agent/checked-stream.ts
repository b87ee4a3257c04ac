import type { ChatCompletionChunk } from '../types.ts'
import { textIn } from './content.ts'

/** Characters of a streamed answer that are held back: as many as follow a text have been checked with it when it goes out. */
export const outputWindow = 200

/** New characters after which the text so far is checked again. */
const checkEvery = 50

/** What the client sees of a message or a delta: its text, and its thoughts. */
export function shownText(said: { content?: unknown } | undefined): string {
  const { content, reasoning_content: thoughts } = (said ?? {}) as { content?: unknown; reasoning_content?: unknown }
  return textIn(thoughts) + textIn(content)
}

/** A chunk that waits, and how much text each of its choices has with it. */
interface Held {
  chunk: ChatCompletionChunk
  ends: ReadonlyMap<number, number>
}

/**
 * Chunks wait until the text that follows theirs, up to {@link outputWindow} characters of it or the end, has been checked
 * together with it: nothing of what that much text gives away has then gone out.
 */
export async function* checkedStream(
  chunks: AsyncIterable<ChatCompletionChunk>,
  checkText: (text: string) => Promise<void>,
): AsyncGenerator<ChatCompletionChunk> {
  const texts = new Map<number, string>()
  const checked = new Map<number, number>()
  const ended = new Set<number>()
  let held: Held[] = []

  const lengthOf = (index: number): number => texts.get(index)?.length ?? 0
  const check = async (index: number): Promise<void> => {
    const text = texts.get(index) ?? ''
    if (text.length > (checked.get(index) ?? 0)) await checkText(text)
    checked.set(index, text.length)
  }
  const mayGo = ({ ends }: Held): boolean =>
    [...ends].every(([index, end]) => ended.has(index) || end === 0 || end + outputWindow <= (checked.get(index) ?? 0))

  for await (const chunk of chunks) {
    const ends = new Map<number, number>()
    for (const { index, delta, finish_reason } of chunk.choices ?? []) {
      const text = shownText(delta)
      if (text) texts.set(index, (texts.get(index) ?? '') + text)
      ends.set(index, lengthOf(index))
      if (finish_reason || lengthOf(index) - (checked.get(index) ?? 0) >= checkEvery) await check(index)
      if (finish_reason) ended.add(index)
    }
    held.push({ chunk, ends })
    const stays = held.findIndex((each) => !mayGo(each))
    const free = stays === -1 ? held : held.slice(0, stays)
    held = stays === -1 ? [] : held.slice(stays)
    for (const each of free) yield each.chunk
  }
  for (const index of texts.keys()) await check(index)
  for (const { chunk } of held) yield chunk
}
