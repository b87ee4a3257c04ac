import { isCall, isCallOutput } from './call-pairs.ts'
import type { StoredItem } from './response-types.ts'

/** A list of items, cut where it may be shortened. */
export interface Exchanges {
  /** The system and developer messages that it begins with: they stay. */
  front: StoredItem[]
  /**
   * Items that only make sense together, oldest first: one alone, or a turn of the model with the outputs of its calls and
   * whatever came between. Any number of the first may be left out; the last one stays.
   */
  exchanges: StoredItem[][]
}

/** For `truncation: 'auto'`. In one pass: a client decides how many calls there are, and how far away their outputs. */
export function exchangesOf(items: readonly StoredItem[]): Exchanges {
  const turnsAt = items.findIndex((item) => !isStanding(item))
  const front = items.slice(0, turnsAt < 0 ? items.length : turnsAt)
  const rest = items.slice(front.length)
  const starts: number[] = []
  const latestCall = new Map<string, number>()
  for (const [index, item] of rest.entries()) {
    const call = isCallOutput(item) ? latestCall.get(item.call_id ?? '') : undefined
    const previous = rest[index - 1]
    if (call !== undefined) while ((starts.at(-1) ?? 0) > call) starts.pop()
    else if (!previous || !isOfModel(item) || !isOfModel(previous)) starts.push(index)
    if (isCall(item)) latestCall.set(item.call_id, index)
  }
  return { front, exchanges: starts.map((start, n) => rest.slice(start, starts[n + 1])) }
}

const isStanding = (item: StoredItem): boolean =>
  item.type === 'message' && (item.role === 'system' || item.role === 'developer')

const isOfModel = (item: StoredItem): boolean =>
  item.type === 'reasoning' || isCall(item) || (item.type === 'message' && item.role === 'assistant')
