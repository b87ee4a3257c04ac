import { isObject } from '../json.ts'
import { parseAnswer } from '../llm/answer.ts'
import { toJSONText } from '../source.ts'
import type { ChatCompletion, ChatCompletionChunk, EmbeddingResponse } from '../types.ts'

/** An answer as it is kept: each piece as the text that it came as, so that it is given again to the byte. */
interface KeptAnswer {
  pieces: string[]
  /** What of the request was not honoured. */
  warnings: string[]
}

/** Which answers of one operation are whole, and so may be given again. */
export interface AnswerForm<Item> {
  isWhole(pieces: readonly Item[]): boolean
}

export const keptAnswer = (pieces: readonly object[], warnings: string[]): KeptAnswer => ({
  pieces: pieces.map(toJSONText),
  warnings,
})

/**
 * The pieces of a kept answer, with their texts, and its warnings.
 *
 * @throws SyntaxError for what is none
 */
export function answerIn<Item>(value: unknown): { pieces: Item[]; warnings: string[] } {
  if (!isObject(value) || !isTexts(value.pieces) || !isFilled(value.pieces) || !isTexts(value.warnings)) throw notKept()
  const pieces = value.pieces.map((text) => {
    const piece = parseAnswer(text)
    if (!piece) throw notKept()
    return piece as Item
  })
  return { pieces, warnings: value.warnings }
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((text) => typeof text === 'string')

const notKept = (): SyntaxError => new SyntaxError('no answer of a cache')

/** What a filter has cut off may be answered another time. */
const isEnd = (reason: unknown): boolean => typeof reason === 'string' && reason !== 'content_filter'

export const completionForm: AnswerForm<ChatCompletion> = {
  isWhole: ([completion]) =>
    isFilled(completion?.choices) && completion.choices.every(({ finish_reason: reason }) => isEnd(reason)),
}

/** Each choice must have come to its end: a provider may say that it is done without a word. */
export const streamForm: AnswerForm<ChatCompletionChunk> = {
  isWhole(chunks) {
    const ends = new Map<number | undefined, boolean>()
    for (const { choices } of chunks) {
      for (const { index, finish_reason: reason } of choices ?? []) {
        ends.set(index, reason == null ? (ends.get(index) ?? false) : isEnd(reason))
      }
    }
    return ends.size > 0 && [...ends.values()].every(Boolean)
  },
}

export const embeddingForm: AnswerForm<EmbeddingResponse> = { isWhole: ([answer]) => isFilled(answer?.data) }

const isFilled = <Item>(list: Item[] | undefined): list is Item[] => Array.isArray(list) && list.length > 0
