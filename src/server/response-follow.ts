import { errorEvent, numbered } from '../responses/response-failure.ts'
import type { ResponseEvent } from '../responses/response-types.ts'
import type { Answer } from './answer.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { lookMs, readEvents } from './kept-events.ts'
import { currentRecord, isUnderWay } from './response-state.ts'
import { EventStream } from './sse.ts'

/** Streams the events of a stored response from a number on; those to come as well. */
export async function followResponse(
  exchange: Exchange,
  context: ServerContext,
  id: string,
  from: number,
): Promise<Answer> {
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
        exchange.endBroken(failure)
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

/** The events of a response from a number on; those to come as well. */
export async function* eventsOfResponse(
  ...of: [exchange: Exchange, context: ServerContext, id: string, from: number]
): AsyncGenerator<ResponseEvent> {
  for await (const event of follow(...of)) if (event !== silence) yield event
}

const read = (exchange: Exchange, context: ServerContext, id: string, from: number, idleMs: number) =>
  readEvents(exchange, context, { key: eventsKey(exchange.userId, id), gone }, from, idleMs) as AsyncGenerator<
    readonly ResponseEvent[]
  >

const gone = (): GatewayError =>
  new GatewayError(
    'invalid_request',
    'the events of this response are not kept (any more): retrieve it without stream',
    {
      param: 'stream',
    },
  )
