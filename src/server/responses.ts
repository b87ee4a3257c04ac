import { toChatRequest } from '../responses/chat-request.ts'
import { toChunk } from '../responses/completion-chunk.ts'
import { inputItems } from '../responses/input-items.ts'
import { assertMetadata } from '../responses/metadata-limits.ts'
import { asResponseRequest } from '../responses/request-schema.ts'
import { ResponseBuilder } from '../responses/response-builder.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseRequest } from '../responses/response-types.ts'
import { fitting } from '../responses/truncation.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { type Dispatch, dispatch } from './dispatch.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { basisOf } from './response-basis.ts'
import { followResponse } from './response-follow.ts'
import { ResponseRun } from './response-run.ts'
import { EventStream } from './sse.ts'

/** A response that is about to be made, and by whom. */
interface Order extends Dispatch {
  run: ResponseRun
}

/** `POST /v1/responses` */
export const createResponse: Endpoint = async (exchange, context) => {
  const body = asResponseRequest(await readJSON(exchange.request, context.limits))
  assertMetadata(body)
  const order = await orderOf(exchange, context, body)
  try {
    await order.run.claim()
    if (body.background) await order.run.begin()
    else return await (body.stream ? streamed(exchange, context, order) : whole(exchange, order))
  } catch (error) {
    order.run.release()
    throw error
  }
  return inBackground(exchange, context, order, body.stream === true)
}

async function orderOf(exchange: Exchange, context: ServerContext, body: ResponseRequest): Promise<Order> {
  const { userId } = exchange
  const builder = new ResponseBuilder(body)
  const basis = await basisOf(exchange, context, body, builder.id)
  try {
    const input = await context.responses.resolved(userId, inputItems(body, builder.id), basis.items)
    const route = context.router.find(body.model)
    const window = route?.entry.capabilities?.context_window ?? route?.entry.contextWindow?.(route.model)
    const items = [...basis.items, ...input]
    // What is wrong with the request is told of the request as it came.
    if (body.truncation === 'auto') toChatRequest(body, items)
    const sent = fitting(body, items, typeof window === 'number' ? window : undefined)
    const chat = toChatRequest(body, sent, (warning) => exchange.warn(warning))
    const dispatched = await dispatch(exchange, context, chat, basis.name)
    const flags = { isStored: body.store !== false, isBackground: body.background === true }
    return { ...dispatched, run: new ResponseRun({ builder, input, basis, userId, ...flags }, exchange, context) }
  } catch (error) {
    basis.release()
    throw error
  }
}

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
  await run.settle()
  run.release()
  exchange.complete()
  return exchange.json(200, builder.response)
}

async function streamed(
  exchange: Exchange,
  context: ServerContext,
  { client, request, run }: Order,
): Promise<Response> {
  exchange.stream = true
  const chunks = await ChunkStream.open(exchange, context, client, request)
  await run.begin().catch((error: unknown) => {
    exchange.warn('the response could not be stored as it begins: it cannot be resumed', error)
  })
  return exchange.eventStream(
    new EventStream(run.events(Promise.resolve(chunks)), {
      named: true,
      keepAliveNow: chunks.isLate,
      keepAliveMs: context.keepAliveMs,
      encode: (event) => event,
      onDone() {
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError: (error) => numbered(errorEvent(chunks.fail(error)), run.builder.sequence),
      onCancel: (reason) => chunks.leave(reason),
    }),
  )
}

/** The answer is at once; the response, which is stored as it begins, is made after it. */
async function inBackground(
  exchange: Exchange,
  context: ServerContext,
  { client, request, run }: Order,
  isStreamed: boolean,
): Promise<Response> {
  const { builder, call } = run
  const queued = builder.response
  const opening = ChunkStream.open(exchange, context, client, request, call)
  // It may fail before the run asks for it.
  opening.catch(() => {})
  context.backgroundRuns.add(eventsKey(exchange.userId, builder.id), run, run.finish(opening))
  return isStreamed ? followResponse(exchange, context, builder.id, 0) : exchange.json(200, queued)
}
