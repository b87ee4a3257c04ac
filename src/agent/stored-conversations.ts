import type { Persistence } from '../store/persistence.ts'
import { userKey } from '../store/stored-key.ts'
import { ConversationHistory } from './conversation-history.ts'
import type { ConversationLoaderPlugin } from './loaders.ts'

export interface StoredConversationsOptions {
  /** Before every key. Default `conversation:`. */
  keyPrefix?: string
  /** How long a conversation is kept after its last turn. Default: for good. */
  ttlSeconds?: number
}

/** A loader that keeps conversations in a persistence, each user's own. */
export function storedConversations(
  persistence: Persistence,
  { keyPrefix = 'conversation:', ttlSeconds }: StoredConversationsOptions = {},
): ConversationLoaderPlugin {
  return {
    async load({ userId, conversationId }) {
      const snapshot = await persistence.get(userKey(keyPrefix, userId, conversationId))
      return snapshot === undefined ? null : ConversationHistory.import(snapshot)
    },
    async save({ userId, conversationId }, history, { lease } = {}) {
      const options = { lease, ...(ttlSeconds === undefined ? {} : { ttlSeconds }) }
      await persistence.set(userKey(keyPrefix, userId, conversationId), history.export(), options)
    },
  }
}
