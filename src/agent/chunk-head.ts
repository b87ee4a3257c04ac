import type { ChatCompletionChunk } from '../types.ts'

export type ChunkHead = Omit<ChatCompletionChunk, 'choices'>

/** What all chunks of an answer have in common; anything else is said once. */
export function headOf(chunk: ChatCompletionChunk): ChunkHead {
  const { id, object, created, model, service_tier, system_fingerprint } = chunk
  return {
    id,
    object,
    created,
    model,
    ...(service_tier === undefined ? {} : { service_tier }),
    ...(system_fingerprint === undefined ? {} : { system_fingerprint }),
    ...('usage' in chunk ? { usage: null } : {}),
  }
}
