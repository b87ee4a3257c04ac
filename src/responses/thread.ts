/**
 * The responses that one builds on. Each lists those just before it by itself, and of the others only the block that lists them:
 * a thousand turns store neither half a million ids nor their items a thousand times, and are read in a few goes.
 */
export interface Thread {
  /** The first response of all. */
  root: string
  /** The last block before {@link ids}. */
  block: string | null
  /** Since that block, oldest first; fewer than {@link blockSize}. */
  ids: string[]
}

/** Some consecutive responses of a thread. */
export interface ThreadBlock {
  /** The blocks before it, oldest first. */
  before: string[]
  ids: string[]
}

export const blockSize = 32

/** A thread that begins with this response. */
export const newThread = (id: string): Thread => ({ root: id, block: null, ids: [] })

/** The thread of a response that follows `previous`; and the block that is to be stored under `id`, when one has become full. */
export function extended(
  { root, block, ids }: Thread,
  previous: string,
  id: string,
  before: readonly string[],
): { thread: Thread; block?: ThreadBlock } {
  const all = [...ids, previous]
  if (all.length < blockSize) return { thread: { root, block, ids: all } }
  return {
    thread: { root, block: id, ids: [] },
    block: { before: block === null ? [] : [...before, block], ids: all },
  }
}
