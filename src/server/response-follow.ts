import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseEvent } from '../responses/response-types.ts'
import { EventsGoneError } from '../store/event-log.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { currentRecord, isUnderWay } from './response-state.ts'
import { EventStream } from './sse.ts'

/** How often who waits for events looks whether anybody still makes them, in milliseconds. */
const lookMs = 5000

/** Streams the events of a stored response from a number on; those to come as well. */
export async function followResponse(
  exchange: Exchange,
  context: ServerContext,
  id: string,
  from: number,
): Promise<Response> {
  exchange.stream = true
  // What is not there can still be told by its status.
  for await (const _batch of read(exchange, context, id, from, 0)) break
  let next = from
  return exchange.eventStream(
    new EventStream(follow(exchange, context, id, from), {
      named: true,
      keepAliveMs: context.keepAliveMs,
      encode(event) {
        if (event === silence) return undefined
        next = event.sequence_number + 1
        return event
      },
      onDone() {
        exchange.end(200, 'ok')
        return ''
      },
      onError(error) {
        const failure = exchange.noteFailure(error)
        exchange.end(200, 'stream_error', failure.code ?? undefined)
        return numbered(errorEvent(failure), next)
      },
      onCancel(reason) {
        exchange.abort(reason)
        exchange.end(200, 'client_closed', 'client_closed')
      },
    }),
  )
}

/** Nothing has come for a while. */
const silence = Symbol('silence')

async function* follow(
  exchange: Exchange,
  context: ServerContext,
  id: string,
  from: number,
): AsyncGenerator<ResponseEvent | typeof silence> {
  let isOver = false
  for await (const batch of read(exchange, context, id, from, lookMs)) {
    yield* batch
    if (batch.length > 0) continue
    if (isOver) throw gone()
    // One that has just ended may still have to write that down.
    isOver = !isUnderWay((await currentRecord(context, exchange.userId, id)).response)
    yield silence
  }
}

async function* read(
  { userId, call }: Exchange,
  { eventLog }: ServerContext,
  id: string,
  from: number,
  idleMs: number,
): AsyncGenerator<readonly ResponseEvent[]> {
  try {
    const events = eventLog.read(eventsKey(userId, id), from, { idleMs, signal: call.signal })
    for await (const batch of events) yield batch as readonly ResponseEvent[]
  } catch (error) {
    if (error instanceof EventsGoneError) throw gone()
    if (error instanceof GatewayError) throw error
    if (call.signal?.aborted) throw new GatewayError('client_closed', 'the client closed the request', { cause: error })
    throw new GatewayError('store_unavailable', 'the events of this response cannot be read', {
      cause: error,
      retryAfter: 1,
    })
  }
}

const gone = (): GatewayError =>
  new GatewayError(
    'invalid_request',
    'the events of this response are not kept (any more): retrieve it without stream',
    {
      param: 'stream',
    },
  )
