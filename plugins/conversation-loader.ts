import fp from 'fastify-plugin'
import type { ConversationLoaderPlugin } from '../src/agent/loaders.ts'
import { type StoredConversationsOptions, storedConversations } from '../src/agent/stored-conversations.ts'
import type { Persistence } from '../src/store/persistence.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where conversations are kept. */
    conversationLoader?: ConversationLoaderPlugin
  }
}

/** Either a loader of one's own, or the persistence to keep conversations in. */
export type ConversationLoaderOptions =
  | { loader: ConversationLoaderPlugin }
  | ({ persistence: Persistence } & StoredConversationsOptions)

/** Conversations that outlive a request. */
export const conversationLoader = fp<ConversationLoaderOptions>(
  async (app, options) => {
    if (app.hasDecorator('oaiServer'))
      throw new Error('register conversation-loader before oai-server, which takes it up')
    if (!('loader' in options) && !options.persistence)
      throw new TypeError('conversation-loader needs a loader or a persistence')
    app.decorate(
      'conversationLoader',
      'loader' in options ? options.loader : storedConversations(options.persistence, options),
    )
  },
  { name: 'signalbox-conversation-loader' },
)
