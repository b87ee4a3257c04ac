import { page } from '../responses/page.ts'
import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import { followResponse } from './response-follow.ts'
import { cancelFromOutside, currentRecord, isUnderWay } from './response-state.ts'

/** `GET /v1/responses/{id}`; with `stream=true` its events, from the one after `starting_after` on. */
export const retrieveResponse: Endpoint = async (exchange, context) => {
  const { request, query, parameter: id, userId } = exchange
  const from = startOf(query.get('starting_after'))
  const { response } = await currentRecord(context, userId, id)
  // Nobody reads the events of a HEAD.
  if (query.get('stream') === 'true' && request.method !== 'HEAD') return followResponse(exchange, context, id, from)
  return exchange.json(200, response)
}

function startOf(startingAfter: string | null): number {
  if (startingAfter === null) return 0
  if (/^\d{1,15}$/.test(startingAfter)) return Number(startingAfter) + 1
  throw new GatewayError('invalid_request', "'starting_after' must be the number of an event", {
    param: 'starting_after',
  })
}

/** `DELETE /v1/responses/{id}`. One that is under way is not made any further. */
export const deleteResponse: Endpoint = async (exchange, context) => {
  const { userId, parameter: id } = exchange
  const { response } = await currentRecord(context, userId, id)
  await context.responses.remove(userId, id)
  await context.eventLog.delete(eventsKey(userId, id))
  if (isUnderWay(response)) await context.backgroundRuns.cancel(eventsKey(userId, id))
  return exchange.json(200, { id, object: 'response', deleted: true })
}

/** `GET /v1/responses/{id}/input_items`: of its own input, not of what it builds on. */
export const listInputItems: Endpoint = async (exchange, context) => {
  const { query, parameter: id, userId } = exchange
  const { input } = await currentRecord(context, userId, id)
  const { limit, order, after } = Object.fromEntries(query)
  const items = input as ((typeof input)[number] & { id: string })[]
  return exchange.json(200, page(items, { limit: limit ?? null, order: order ?? null, after: after ?? null }))
}

/** `POST /v1/responses/{id}/cancel`. A second time, or after the end, it answers the response as it is. */
export const cancelResponse: Endpoint = async (exchange, context) => {
  const { userId, parameter: id } = exchange
  const record = await currentRecord(context, userId, id)
  if (!record.response.background) {
    throw new GatewayError('invalid_request', 'only a response that is made in the background can be cancelled')
  }
  if (!isUnderWay(record.response)) return exchange.json(200, record.response)
  const isHere = await context.backgroundRuns.cancel(eventsKey(userId, id))
  const now = isHere ? await currentRecord(context, userId, id) : record
  // Not ended by that: it is made elsewhere, or somebody else is about to end it.
  const { response } = isUnderWay(now.response) ? await cancelFromOutside(context, userId, now) : now
  return exchange.json(200, response)
}
