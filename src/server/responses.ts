import { toChatRequest } from '../responses/chat-request.ts'
import { toChunk } from '../responses/completion-chunk.ts'
import { inputItems } from '../responses/input-items.ts'
import { assertMetadata } from '../responses/metadata-limits.ts'
import { asResponseRequest } from '../responses/request-schema.ts'
import { ResponseBuilder } from '../responses/response-builder.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { History } from '../responses/response-records.ts'
import type { ResponseRequest } from '../responses/response-types.ts'
import { fitting } from '../responses/truncation.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { Detached } from './detached.ts'
import { type Dispatch, dispatch } from './dispatch.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { followResponse } from './response-follow.ts'
import { ResponseRun } from './response-run.ts'
import { currentRecord, isUnderWay } from './response-state.ts'
import { isResumable } from './resumable.ts'
import { EventStream } from './sse.ts'

/** A response that is about to be made, and by whom. */
interface Order extends Dispatch {
  run: ResponseRun
  isDetached: boolean
}

/** `POST /v1/responses` */
export const createResponse: Endpoint = async (exchange, context) => {
  const body = asResponseRequest(await readJSON(exchange.request, context.limits))
  assertMetadata(body)
  if (body.conversation) {
    const message = "'conversation' is not supported; continue with 'previous_response_id'"
    throw new GatewayError('unsupported', message, { param: 'conversation' })
  }
  const order = await orderOf(exchange, context, body)
  await order.run.claim()
  if (body.background) return inBackground(exchange, context, order, body.stream === true)
  return body.stream ? streamed(exchange, context, order) : whole(exchange, order)
}

async function orderOf(exchange: Exchange, context: ServerContext, body: ResponseRequest): Promise<Order> {
  const { userId } = exchange
  const builder = new ResponseBuilder(body)
  const { items: earlier, thread, block } = await historyOf(context, userId, body, builder.id)
  const input = await context.responses.resolved(userId, inputItems(body, builder.id))
  const route = context.router.find(body.model)
  const window = route?.entry.capabilities?.context_window ?? route?.entry.contextWindow?.(route.model)
  const items = [...earlier, ...input]
  // What is wrong with the request is told of the request as it came.
  if (body.truncation === 'auto') toChatRequest(body, items)
  const sent = fitting(body, items, typeof window === 'number' ? window : undefined)
  const chat = toChatRequest(body, sent, (warning) => exchange.warn(warning))
  const dispatched = await dispatch(exchange, context, chat, thread.root)
  const kept = { input, thread, ...(block ? { block } : {}), isStored: body.store !== false }
  const isBackground = body.background === true
  const isDetached = isBackground || (kept.isStored && body.stream === true && isResumable(exchange))
  const plan = { ...kept, builder, userId, isBackground, isDetached }
  return { ...dispatched, isDetached, run: new ResponseRun(plan, exchange, context) }
}

async function historyOf(
  context: ServerContext,
  userId: string | null,
  { previous_response_id: previousId }: ResponseRequest,
  id: string,
): Promise<History> {
  const { responses } = context
  if (!previousId) return responses.noHistory(id)
  const param = 'previous_response_id'
  const previous = await currentRecord(context, userId, previousId).catch((error: unknown) => {
    throw error instanceof GatewayError && error.kind === 'not_found' ? previousNotFound(previousId) : error
  })
  if (isUnderWay(previous.response)) {
    throw new GatewayError('invalid_request', `Previous response '${previousId}' is still in progress.`, { param })
  }
  const history = await responses.history(userId, previous, id)
  if (!history) throw previousNotFound(previousId, ': a response that it builds on is gone')
  return history
}

const previousNotFound = (id: string, reason = ''): GatewayError =>
  new GatewayError(
    'previous_response_not_found',
    `Previous response with id '${id.slice(0, 100)}' not found${reason}.`,
    { param: 'previous_response_id' },
  )

async function whole(exchange: Exchange, { client, request, run }: Order): Promise<Response> {
  const { builder } = run
  try {
    const completion = await client.complete(request, run.call)
    exchange.usage = completion.usage
    builder.start()
    builder.add(toChunk(completion))
    builder.finish()
    const { error } = builder.response
    if (error) throw new GatewayError('upstream_truncated', error.message)
  } catch (error) {
    reportPartial(exchange, request, error)
    throw error
  }
  await run.saveOrWarn()
  exchange.complete()
  return exchange.json(200, builder.response)
}

async function streamed(
  exchange: Exchange,
  context: ServerContext,
  { client, request, run, isDetached }: Order,
): Promise<Response> {
  exchange.stream = true
  const chunks = await ChunkStream.open(exchange, context, client, request, run.call)
  await run.begin().catch((error: unknown) => {
    exchange.warn('the response could not be stored as it begins: it cannot be resumed', error)
  })
  const made = run.events(Promise.resolve(chunks))
  const detached = isDetached ? new Detached(made) : undefined
  if (detached) context.backgroundRuns.add(eventsKey(exchange.userId, run.builder.id), run, detached.over)
  return exchange.eventStream(
    new EventStream(detached ?? made, {
      named: true,
      keepAliveNow: chunks.isLate,
      keepAliveMs: context.keepAliveMs,
      encode: (event) => event,
      onDone() {
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError: (error) => numbered(errorEvent(chunks.fail(error)), run.builder.sequence),
      onCancel(reason) {
        if (detached) exchange.end(200, 'client_closed', 'client_closed')
        else chunks.leave(reason)
      },
    }),
  )
}

/** The answer is at once; the response is made after it. */
async function inBackground(
  exchange: Exchange,
  context: ServerContext,
  { client, request, run }: Order,
  isStreamed: boolean,
): Promise<Response> {
  const { builder, call } = run
  await run.begin()
  const queued = builder.response
  const opening = ChunkStream.open(exchange, context, client, request, call)
  // It may fail before the run asks for it.
  opening.catch(() => {})
  context.backgroundRuns.add(eventsKey(exchange.userId, builder.id), run, run.finish(opening))
  return isStreamed ? followResponse(exchange, context, builder.id, 0) : exchange.json(200, queued)
}
