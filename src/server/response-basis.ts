import { reported } from '../agent/reported.ts'
import { withItems } from '../responses/conversation-records.ts'
import type { History } from '../responses/response-records.ts'
import type { OutputItem, ResponseRequest, StoredItem } from '../responses/response-types.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { currentRecord, isUnderWay } from './response-state.ts'

/** What a response builds on: nothing, a previous response, or a conversation, which it is a turn of. */
export interface Basis extends History {
  /** What an agent takes for its conversation. */
  name: string
  /**
   * Adds the items of the response to what it builds on.
   *
   * @throws GatewayError `store_unavailable`; `conversation_locked` when another turn has begun since
   */
  add(items: readonly (StoredItem | OutputItem)[]): Promise<void>
  /** Lets others go on from it. A second time does nothing. */
  release(): void
}

/**
 * What a response `id` builds on, by its request. It is to be released, whatever comes of the response.
 *
 * @throws GatewayError whose `param` names what is not there, or cannot be gone on from yet
 */
export async function basisOf(
  exchange: Exchange,
  context: ServerContext,
  { conversation, previous_response_id: previousId }: ResponseRequest,
  id: string,
): Promise<Basis> {
  if (conversation) {
    return turnOf(exchange, context, typeof conversation === 'string' ? conversation : conversation.id, id)
  }
  const { responses } = context
  const history = previousId ? await historyOf(context, exchange.userId, previousId, id) : responses.noHistory(id)
  return { ...history, name: history.thread.root, add: async () => {}, release: () => {} }
}

async function turnOf(
  { userId, call }: Exchange,
  { responses, conversationRecords }: ServerContext,
  conversationId: string,
  id: string,
): Promise<Basis> {
  const param = 'conversation'
  const conversation = await reported('load', call, () => conversationRecords.open(userId, conversationId, call.signal))
  if (!conversation) throw conversationNotFound(conversationId, param)
  const { items } = conversation.record
  return {
    ...responses.noHistory(id),
    items: [...items],
    name: conversationId,
    async add(added) {
      const changed = { items: withItems(items, added) }
      await reported('save', call, () => conversation.save(changed))
    },
    release: () => conversation.release(),
  }
}

export const conversationNotFound = (id: string, param?: string): GatewayError =>
  new GatewayError('not_found', `Conversation with id '${id.slice(0, 100)}' not found.`, param ? { param } : {})

async function historyOf(
  context: ServerContext,
  userId: string | null,
  previousId: string,
  id: string,
): Promise<History> {
  const param = 'previous_response_id'
  const previous = await currentRecord(context, userId, previousId).catch((error: unknown) => {
    throw error instanceof GatewayError && error.kind === 'not_found' ? previousNotFound(previousId) : error
  })
  if (isUnderWay(previous.response)) {
    throw new GatewayError('invalid_request', `Previous response '${previousId}' is still in progress.`, { param })
  }
  const { conversation } = previous.response
  if (conversation) {
    const message = `Previous response '${previousId}' is a turn of a conversation: go on with 'conversation': '${conversation.id}'.`
    throw new GatewayError('invalid_request', message, { param })
  }
  const history = await context.responses.history(userId, previous, id)
  if (!history) throw previousNotFound(previousId, ': a response that it builds on is gone')
  return history
}

const previousNotFound = (id: string, reason = ''): GatewayError =>
  new GatewayError(
    'previous_response_not_found',
    `Previous response with id '${id.slice(0, 100)}' not found${reason}.`,
    { param: 'previous_response_id' },
  )
