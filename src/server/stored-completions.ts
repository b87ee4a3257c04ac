import { toStoredMessage } from '../completions/stored-message.ts'
import { page } from '../responses/page.ts'
import { readJSON } from './body.ts'
import { followCompletion, notFound } from './completion-follow.ts'
import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import { asMetadata } from './request-schema.ts'

/** `GET /v1/chat/completions`: those that are stored, of one `model` and with `metadata[key]=value` if told. */
export const listCompletions: Endpoint = async (exchange, { completions }) => {
  const { query, userId } = exchange
  const wanted = [...query].flatMap(([name, value]) => {
    const [, key] = /^metadata\[(.*)\]$/s.exec(name) ?? []
    return key === undefined ? [] : [[key, value] as const]
  })
  const page = { limit: query.get('limit'), order: query.get('order'), after: query.get('after') }
  const filter = {
    model: query.get('model'),
    ...(wanted.length > 0 ? { metadata: Object.fromEntries(wanted) } : {}),
  }
  return exchange.json(200, await completions.list(userId, { ...page, ...filter }, exchange.call))
}

/** `GET /v1/chat/completions/{id}`; for who accepts events, or names the last one that it has seen, those that follow. */
export const retrieveCompletion: Endpoint = async (exchange, context) => {
  const { request, parameter: id, userId } = exchange
  const lastId = request.header('last-event-id')
  const wantsEvents = lastId !== null || request.header('accept')?.includes('text/event-stream')
  // Nobody reads the events of a HEAD.
  if (wantsEvents && request.method !== 'HEAD') return followCompletion(exchange, context, id, numberOf(lastId ?? '0'))
  const completion = await context.completions.load(userId, id)
  if (!completion) throw notFound(id)
  return exchange.json(200, completion)
}

function numberOf(lastId: string): number {
  if (/^\d{1,15}$/.test(lastId)) return Number(lastId)
  throw new GatewayError('invalid_request', "'Last-Event-ID' must be the number of an event", {
    param: 'Last-Event-ID',
  })
}

/** `GET /v1/chat/completions/{id}/messages`: what the client sent. */
export const listCompletionMessages: Endpoint = async (exchange, { completions }) => {
  const { query, parameter: id, userId } = exchange
  const messages = await completions.messages(userId, id)
  if (!messages) throw notFound(id)
  const { limit, order, after } = Object.fromEntries(query)
  const items = messages.map((message, place) => toStoredMessage(message, id, place))
  const wanted = { limit: limit ?? null, order: order ?? null, after: after ?? null }
  return exchange.json(200, page(items, wanted, 'asc'))
}

/** `POST /v1/chat/completions/{id}`: replaces its metadata. */
export const updateCompletion: Endpoint = async (exchange, context) => {
  const { parameter: id, userId } = exchange
  const metadata = asMetadata(await readJSON(exchange, context.limits))
  const completion = await context.completions.update(userId, id, metadata)
  if (!completion) throw notFound(id)
  return exchange.json(200, completion)
}

/** `DELETE /v1/chat/completions/{id}` */
export const deleteCompletion: Endpoint = async (exchange, { completions, eventLog }) => {
  const { parameter: id, userId } = exchange
  if (!(await completions.remove(userId, id))) throw notFound(id)
  await eventLog.delete(eventsKey(userId, id))
  return exchange.json(200, { id, object: 'chat.completion.deleted', deleted: true })
}
