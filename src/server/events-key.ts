import { userKey } from '../store/stored-key.ts'

/** Where the events of a response are. */
export const eventsKey = (userId: string | null, responseId: string): string =>
  userKey('response-events:', userId, responseId)
