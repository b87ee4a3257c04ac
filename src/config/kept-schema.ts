import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

/** How long conversations are kept, and how long a turn waits for another. */
export const ConversationsConfig = Type.Object(
  {
    ttl: Duration('A conversation is kept this long after its last turn.', '30d'),
    lockTimeout: Type.Optional(
      Duration(
        'A turn waits this long for the one before it; then it is a 409. Default: two thirds of `server.keepAlive`, at most 10s.',
      ),
    ),
    loaderTimeout: Duration('Loading an agent or a conversation, or saving one, may take this long.', '5s'),
  },
  { ...options, default: {} },
)

/** What the Responses API and `store: true` keep. */
export const ResponsesConfig = Type.Object(
  { ttl: Duration('A stored response, or chat completion, is kept this long.', '30d') },
  { ...options, default: {} },
)
