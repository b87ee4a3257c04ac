import { unlessAborted } from '../agent/unless-aborted.ts'

/** What is read of chunks, of which the first was asked for before. */
interface Chunks<Chunk> {
  first: Promise<IteratorResult<Chunk>>
  next(): Promise<IteratorResult<Chunk>>
  return(): Promise<unknown>
}

/** What is read is left behind when a run is aborted, whether the client heeds that or not. */
export async function* chunksUntilAborted<Chunk>(
  chunks: Chunks<Chunk>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk> {
  try {
    let next = await unlessAborted(signal, () => chunks.first)
    while (!next.done) {
      yield next.value
      next = await unlessAborted(signal, () => chunks.next())
    }
  } finally {
    chunks.return().catch(() => {})
  }
}
