import { inputItems } from '../responses/input-items.ts'
import { newResponseId } from '../responses/item-ids.ts'
import { assertMetadata } from '../responses/metadata-limits.ts'
import { asResponseRequest } from '../responses/request-schema.ts'
import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseRequest } from '../responses/response-types.ts'
import type { Answer } from './answer.ts'
import { readJSON } from './body.ts'
import { ChunkStream, reportPartial } from './chunk-stream.ts'
import type { Endpoint, ServerContext } from './context.ts'
import { Detached, tied } from './detached.ts'
import { dispatch } from './dispatch.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { ofResponse } from './expected-usage.ts'
import { reserve } from './reserve.ts'
import { type Basis, basisOf } from './response-basis.ts'
import { eventsOfResponse, followResponse } from './response-follow.ts'
import { nativeOrder, type Order, translatedOrder } from './response-order.ts'
import { ResponseRun, type RunPlan } from './response-run.ts'
import { isResumable } from './resumable.ts'
import { EventStream } from './sse.ts'

/** `POST /v1/responses` */
export const createResponse: Endpoint = async (exchange, context) => {
  const body = asResponseRequest(await readJSON(exchange, context.limits))
  assertMetadata(body)
  const id = newResponseId()
  const basis = await basisOf(exchange, context, body, id)
  try {
    return await respond(exchange, context, body, id, basis)
  } catch (error) {
    basis.release()
    throw error
  }
}

async function respond(
  exchange: Exchange,
  context: ServerContext,
  body: ResponseRequest,
  id: string,
  basis: Basis,
): Promise<Answer> {
  const { userId } = exchange
  const input = await context.responses.resolved(userId, inputItems(body, id), basis.items)
  const isStored = body.store !== false
  const isBackground = body.background === true
  const isDetached = isBackground || (isStored && body.stream === true && isResumable(exchange))
  const plan = { input, basis, isStored, isBackground, isDetached }
  const { model, user } = body
  const addressed = user == null ? { model } : { model, user }
  const { client, request } = await dispatch(exchange, context, addressed, basis.name)
  const expected = () => ofResponse(body, [...basis.items, ...input])
  const reserved = reserve(exchange, context, { client, model: request.model, expected })
  if (reserved) await reserved
  const asked = { id, body, model: request.model, earlier: basis.items, input }
  if (client.responses) return make(exchange, context, body, plan, nativeOrder(client.responses, asked))
  const options = {
    contextWindow: windowOf(context, body.model),
    chunkChars: context.streamChunkChars,
    onWarning: (warning: string) => exchange.warn(warning),
  }
  return make(exchange, context, body, plan, translatedOrder(client, asked, options))
}

async function make<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { background, stream }: ResponseRequest,
  plan: Omit<RunPlan<Chunk>, 'builder'>,
  order: Order<Chunk>,
): Promise<Answer> {
  const run = new ResponseRun({ ...plan, builder: order.builder }, exchange, context)
  await run.claim()
  if (!background) return stream ? streamed(exchange, context, order, run) : whole(exchange, order, run)
  await run.begin()
  return inBackground(exchange, context, order, run, stream === true)
}

function windowOf({ router }: ServerContext, model: string): number | undefined {
  const route = router.find(model)
  const window = route?.entry.capabilities?.context_window ?? route?.entry.contextWindow?.(route.model)
  return typeof window === 'number' ? window : undefined
}

async function whole<Chunk>(exchange: Exchange, order: Order<Chunk>, run: ResponseRun<Chunk>): Promise<Answer> {
  const { builder, source } = order
  try {
    exchange.usage = await order.complete(run.call)
    if (builder.failure) throw builder.failure
  } catch (error) {
    reportPartial(exchange, source.prompt, error)
    throw error
  }
  await run.settle()
  run.release()
  exchange.complete()
  return exchange.json(200, builder.response)
}

async function streamed<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { source }: Order<Chunk>,
  run: ResponseRun<Chunk>,
): Promise<Answer> {
  exchange.stream = true
  const untie = run.isDetached ? tied(run, exchange.call) : () => {}
  const chunks = await ChunkStream.from(exchange, context, source, run.call).finally(untie)
  await run.begin().catch((error: unknown) => {
    exchange.warn('the response could not be stored as it begins: it cannot be resumed', error)
  })
  const { id } = run.builder
  const made = run.events(Promise.resolve(chunks))
  const detached = run.isDetached
    ? new Detached(made, (from) => eventsOfResponse(exchange, context, id, from))
    : undefined
  if (detached) {
    context.backgroundRuns.add(eventsKey(exchange.userId, id), run, detached.over)
    exchange.outlivedBy(detached.over)
  }
  let next = 0
  return exchange.eventStream(
    new EventStream(detached ?? made, {
      named: true,
      keepAliveNow: chunks.isLate,
      keepAliveMs: context.keepAliveMs,
      encode(event) {
        next = event.sequence_number + 1
        return event
      },
      onDone() {
        const warnings = exchange.takeWarnings()
        return warnings && `warning ${warnings}`
      },
      onError(error) {
        // What is kept cannot be read: the making of it may go on.
        if (detached?.isBehind) return numbered(errorEvent(exchange.noteFailure(error)), next)
        return numbered(errorEvent(chunks.fail(error)), run.builder.sequence)
      },
      onCancel(reason) {
        if (detached?.isBehind) exchange.abort(reason)
        if (detached) exchange.end(200, 'client_closed', 'client_closed')
        else chunks.leave(reason)
      },
    }),
  )
}

/** The answer is at once; the response, which is stored as it begins, is made after it. */
async function inBackground<Chunk>(
  exchange: Exchange,
  context: ServerContext,
  { source }: Order<Chunk>,
  run: ResponseRun<Chunk>,
  isStreamed: boolean,
): Promise<Answer> {
  const { builder, call } = run
  const queued = builder.response
  exchange.isAhead = true
  // Its client does not even know its id.
  if (exchange.call.signal?.aborted) run.cancel()
  const opening = ChunkStream.from(exchange, context, source, call)
  // It may fail before the run asks for it.
  opening.catch(() => {})
  const making = run.finish(opening)
  context.backgroundRuns.add(eventsKey(exchange.userId, builder.id), run, making)
  exchange.outlivedBy(making)
  if (!isStreamed) return exchange.json(200, queued)
  // It is made all the same.
  return followResponse(exchange, context, builder.id, 0).catch((error: unknown) => exchange.fail(error))
}
