import type { ChunkDelta } from '../types.ts'

export type CallDelta = Partial<NonNullable<ChunkDelta['tool_calls']>[number]> & { custom?: { name?: string } }

/**
 * Which call of a step each delta belongs to. By its `index`; but some providers send none, and some give the same one to calls
 * that they send whole, one after the other.
 */
export class CallOrder {
  readonly #places = new Map<number | undefined, { place: number; id: string | undefined }>()
  #count = 0

  /** Places are counted from 0, in the order in which the calls begin. */
  placeOf({ index, id, function: called, custom }: CallDelta): number {
    const key = typeof index === 'number' ? index : undefined
    const known = this.#places.get(key)
    const isOther = id && known?.id && id !== known.id && (called?.name || custom?.name)
    if (known && !isOther) {
      known.id ||= id
      return known.place
    }
    const place = this.#count++
    this.#places.set(key, { place, id })
    return place
  }
}
