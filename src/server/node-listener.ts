import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { eventsOf } from './event-response.ts'
import { sendEvents } from './send-events.ts'

// The package replaces the global Response by one of its own. Had it done so before this one was made, it would overlook
// the mark of it, unless it has been looked into.
void RESPONSE_ALREADY_SENT.body

/** Serves a web-standard handler on Node. `onUnreadable` answers what no Request can be made of. */
export function nodeListener(
  handler: (request: Request, incoming: IncomingMessage) => Promise<Response>,
  hostname: string,
  onUnreadable?: (cause: unknown) => Response,
): RequestListener {
  return getRequestListener(
    async (request, { incoming, outgoing }) => {
      const response = await handler(request, incoming as IncomingMessage)
      const events = eventsOf(response)
      if (!events) return response
      sendEvents(events, response, outgoing as ServerResponse).catch(() => outgoing.destroy())
      return RESPONSE_ALREADY_SENT
    },
    { hostname, ...(onUnreadable ? { errorHandler: onUnreadable } : {}) },
  )
}
