import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

/** How much one process takes on. */
export const OverloadConfig = Type.Object(
  {
    maxInFlight: Type.Integer({
      minimum: 1,
      default: 2000,
      description:
        'Requests (POST) that one process works on at a time, open streams and background responses included.',
    }),
    maxQueue: Type.Integer({
      minimum: 0,
      default: 500,
      description: 'Requests that wait for one of them to end, unread. Any more get 503 `overloaded` at once.',
    }),
    queueTimeout: Duration('The longest wait there; then it is a 503 `overloaded`, too.', '5s'),
  },
  { ...options, default: {} },
)
