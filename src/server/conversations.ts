import type { ConversationItem, ConversationRecord, OpenConversation } from '../responses/conversation-records.ts'
import { asConversationUpdate, asNewConversation, asNewItems } from '../responses/conversation-schema.ts'
import { unknownIncludes } from '../responses/includes.ts'
import { toStoredItem } from '../responses/input-items.ts'
import { page } from '../responses/page.ts'
import { invalid } from '../responses/refusals.ts'
import type { InputItem } from '../responses/response-types.ts'
import { readJSON } from './body.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { conversationNotFound } from './response-basis.ts'

/** `POST /v1/conversations` */
export const createConversation: Endpoint = async (exchange, context) => {
  const given = asNewConversation(await readJSON(exchange, context.limits, {}))
  const items = await newItems(exchange, context, given.items)
  const record = await context.conversationRecords.create(exchange.userId, { ...given, items })
  return exchange.json(200, resourceOf(record))
}

/** `GET /v1/conversations/{conversation_id}` */
export const retrieveConversation: Endpoint = async (exchange, context) =>
  exchange.json(200, resourceOf(await conversationOf(exchange, context)))

/** `POST /v1/conversations/{conversation_id}`: new metadata, for all there was. */
export const updateConversation: Endpoint = async (exchange, context) => {
  const metadata = asConversationUpdate(await readJSON(exchange, context.limits))
  const record = await changing(exchange, context, (conversation) => conversation.save({ metadata }))
  return exchange.json(200, resourceOf(record))
}

/** `DELETE /v1/conversations/{conversation_id}` */
export const deleteConversation: Endpoint = async (exchange, context) => {
  await changing(exchange, context, (conversation) => conversation.remove())
  return exchange.json(200, { id: exchange.parameter, object: 'conversation.deleted', deleted: true })
}

/** `GET /v1/conversations/{conversation_id}/items` */
export const listItems: Endpoint = async (exchange, context) => {
  noteIncludes(exchange)
  const { items } = await conversationOf(exchange, context)
  return exchange.json(200, page(items, Object.fromEntries(exchange.query)))
}

/** `POST /v1/conversations/{conversation_id}/items`: answers those that were added, in their order. */
export const addItems: Endpoint = async (exchange, context) => {
  noteIncludes(exchange)
  const given = asNewItems(await readJSON(exchange, context.limits))
  const added = await changing(exchange, context, async (conversation) => {
    const { items: before } = conversation.record
    const items = await newItems(exchange, context, given, before)
    await conversation.save({ items: [...before, ...items] })
    return items
  })
  return exchange.json(200, page(added, { order: 'asc' }))
}

/** `GET /v1/conversations/{conversation_id}/items/{item_id}` */
export const retrieveItem: Endpoint = async (exchange, context) => {
  noteIncludes(exchange)
  return exchange.json(200, itemOf(exchange, await conversationOf(exchange, context)))
}

/** `DELETE /v1/conversations/{conversation_id}/items/{item_id}`: answers the conversation. */
export const deleteItem: Endpoint = async (exchange, context) => {
  const record = await changing(exchange, context, (conversation) => {
    const gone = itemOf(exchange, conversation.record)
    return conversation.save({ items: conversation.record.items.filter((item) => item !== gone) })
  })
  return exchange.json(200, resourceOf(record))
}

const resourceOf = ({ id, created_at, metadata }: ConversationRecord): object => ({
  id,
  object: 'conversation',
  created_at,
  metadata,
})

async function conversationOf(
  { userId, parameter: id }: Exchange,
  { conversationRecords }: ServerContext,
): Promise<ConversationRecord> {
  const record = await conversationRecords.load(userId, id)
  if (!record) throw conversationNotFound(id)
  return record
}

/** Does something to the conversation when nobody else does. */
async function changing<T>(
  { userId, parameter: id, call }: Exchange,
  { conversationRecords }: ServerContext,
  change: (conversation: OpenConversation) => Promise<T>,
): Promise<T> {
  const conversation = await conversationRecords.open(userId, id, call.signal)
  if (!conversation) throw conversationNotFound(id)
  try {
    return await change(conversation)
  } finally {
    conversation.release()
  }
}

function itemOf({ parameters: [, id = ''] }: Exchange, { items }: ConversationRecord): ConversationItem {
  const item = items.find((item) => item.id === id)
  if (!item) throw new GatewayError('not_found', `Item with id '${id.slice(0, 100)}' not found.`)
  return item
}

/** Items in their full form, with what references stand for in their place. None of them may be there twice. */
async function newItems(
  { userId }: Exchange,
  { responses }: ServerContext,
  given: readonly InputItem[],
  before: readonly ConversationItem[] = [],
): Promise<ConversationItem[]> {
  const stored = given.map((item) => toStoredItem(item))
  const items = (await responses.resolved(userId, stored, before)) as ConversationItem[]
  const known = new Set(before.map(({ id }) => id))
  for (const [index, { type, id }] of items.entries()) {
    if (type === 'item_reference') throw invalid(`items[${index}]`, `Item with id '${id.slice(0, 100)}' not found.`)
    if (known.has(id)) throw invalid(`items[${index}]`, `Item with id '${id.slice(0, 100)}' is already there.`)
    known.add(id)
  }
  return items
}

function noteIncludes(exchange: Exchange): void {
  const { query } = exchange
  const names = [...query.getAll('include'), ...query.getAll('include[]')]
  for (const warning of unknownIncludes(names)) exchange.warn(warning)
}
