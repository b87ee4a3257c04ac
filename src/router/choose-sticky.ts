import { createHash } from 'node:crypto'
import { type Asked, type Choice, lowest } from './choice.ts'

/** What stays with one target. */
export type Sticky = 'none' | 'conversation' | 'user'

/**
 * What belongs together goes to one target, by weighted rendezvous hashing: every process chooses the same without asking another,
 * and when a target is added or goes only its share moves. What belongs to nothing is left to the other choice.
 */
export function staying(sticky: Sticky, otherwise: Choice): Choice {
  if (sticky === 'none') return otherwise
  const keyOf = sticky === 'user' ? userKey : conversationKey
  return (candidates, asked) => {
    if (candidates.length === 1) return candidates[0]
    const key = keyOf(asked)
    if (key === undefined) return otherwise(candidates, asked)
    const [favourite] = lowest(candidates, ({ name, weight }) => -Math.log(pointOf(key, name)) / weight)
    return favourite
  }
}

const userKey = ({ call: { userId } }: Asked): string | undefined => userId ?? undefined

/** Ids are their users' own. `prompt_cache_key` is OpenAI's field for requests that share the beginning of a prompt. */
function conversationKey({
  call: { userId = null, threadId, conversationId = threadId },
  request,
}: Asked): string | undefined {
  if (conversationId) return JSON.stringify([userId, 'conversation', conversationId])
  const { prompt_cache_key: cacheKey } = request as { prompt_cache_key?: unknown }
  return typeof cacheKey === 'string' && cacheKey ? JSON.stringify([userId, 'cache', cacheKey]) : undefined
}

/** Evenly between 0 and 1, neither of them; the same everywhere. */
function pointOf(key: string, name: string): number {
  const digest = createHash('sha256')
    .update(JSON.stringify([name, key]))
    .digest()
  return (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48
}
