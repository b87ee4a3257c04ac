import { inputItems } from '../responses/input-items.ts'
import { newResponseId } from '../responses/item-ids.ts'
import { assertMetadata } from '../responses/metadata-limits.ts'
import { asResponseRequest } from '../responses/request-schema.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { History } from '../responses/response-records.ts'
import type { ResponseRequest } from '../responses/response-types.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { dispatch } from './dispatch.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { followResponse } from './response-follow.ts'
import { nativeOrder, type Order, translatedOrder } from './response-order.ts'
import { ResponseRun, type RunPlan } from './response-run.ts'
import { currentRecord, isUnderWay } from './response-state.ts'
import { EventStream } from './sse.ts'

/** `POST /v1/responses` */
export const createResponse: Endpoint = async (exchange, context) => {
  const body = asResponseRequest(await readJSON(exchange.request, context.limits))
  assertMetadata(body)
  if (body.conversation) {
    const message = "'conversation' is not supported; continue with 'previous_response_id'"
    throw new GatewayError('unsupported', message, { param: 'conversation' })
  }
  const { userId } = exchange
  const id = newResponseId()
  const { items: earlier, thread, block } = await historyOf(context, userId, body, id)
  const input = await context.responses.resolved(userId, inputItems(body, id))
  const kept = { input, thread, ...(block ? { block } : {}), isStored: body.store !== false }
  const plan = { ...kept, userId, isBackground: body.background === true }
  const { model, user } = body
  const addressed = user == null ? { model } : { model, user }
  const { client, request } = await dispatch(exchange, context, addressed, thread.root)
  const asked = { id, body, model: request.model, earlier, input }
  if (client.responses) return respond(exchange, context, body, plan, nativeOrder(client.responses, asked))
  const options = {
    contextWindow: windowOf(context, body.model),
    chunkChars: context.streamChunkChars,
    onWarning: (warning: string) => exchange.warn(warning),
  }
  return respond(exchange, context, body, plan, translatedOrder(client, asked, options))
}

async function respond<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { background, stream }: ResponseRequest,
  plan: Omit<RunPlan<Chunk>, 'builder'>,
  order: Order<Chunk>,
): Promise<Response> {
  const run = new ResponseRun({ ...plan, builder: order.builder }, exchange, context)
  await run.claim()
  if (background) return inBackground(exchange, context, order, run, stream === true)
  return stream ? streamed(exchange, context, order, run) : whole(exchange, order, run)
}

function windowOf({ router }: ServerContext, model: string): number | undefined {
  const route = router.find(model)
  const window = route?.entry.capabilities?.context_window ?? route?.entry.contextWindow?.(route.model)
  return typeof window === 'number' ? window : undefined
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

async function whole<Chunk>(exchange: Exchange, order: Order<Chunk>, run: ResponseRun<Chunk>): Promise<Response> {
  const { builder, source } = order
  try {
    exchange.usage = await order.complete(run.call)
    if (builder.failure) throw builder.failure
  } catch (error) {
    reportPartial(exchange, source.prompt, error)
    throw error
  }
  await run.saveOrWarn()
  exchange.complete()
  return exchange.json(200, builder.response)
}

async function streamed<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { source }: Order<Chunk>,
  run: ResponseRun<Chunk>,
): Promise<Response> {
  exchange.stream = true
  const chunks = await ChunkStream.from(exchange, context, source)
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

/** The answer is at once; the response is made after it. */
async function inBackground<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { source }: Order<Chunk>,
  run: ResponseRun<Chunk>,
  isStreamed: boolean,
): Promise<Response> {
  const { builder, call } = run
  await run.begin()
  const queued = builder.response
  const opening = ChunkStream.from(exchange, context, source, call)
  // It may fail before the run asks for it.
  opening.catch(() => {})
  context.backgroundRuns.add(eventsKey(exchange.userId, builder.id), run, run.finish(opening))
  return isStreamed ? followResponse(exchange, context, builder.id, 0) : exchange.json(200, queued)
}
