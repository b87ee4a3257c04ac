import { bounded } from '../agent/bounded.ts'
import { EventsGoneError } from '../store/event-log.ts'
import type { Answer } from './answer.ts'
import { type CompletionEvent, firstId, isDone, isError } from './completion-events.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'
import { lookMs, readEvents } from './kept-events.ts'
import { EventStream } from './sse.ts'

/**
 * Streams the events of a chat completion from a number on, `[DONE]` or the error at its end included; those to come as well. Who has
 * seen all of them gets 204, which tells an EventSource not to ask again.
 */
export async function followCompletion(
  exchange: Exchange,
  context: ServerContext,
  id: string,
  lastId: number,
): Promise<Answer> {
  const from = Math.max(firstId, lastId + 1)
  const source = { key: eventsKey(exchange.userId, id), gone: () => gone(exchange, context, id) }
  // What is not there can still be told by its status.
  const present = readEvents(exchange, context, source, from, 0)
  const { done: isSeen } = await present.next()
  await present.return(undefined)
  if (isSeen) return exchange.empty(204)
  exchange.stream = true
  return exchange.eventStream(
    new EventStream(eventsOfCompletion(exchange, context, id, from), {
      numbered: { firstId: from, isLast: isError },
      keepAliveMs: context.keepAliveMs,
      encode(event) {
        if (isError(event)) exchange.end(200, 'stream_error', event.error.code ?? undefined)
        return event
      },
      onDone() {
        exchange.end(200, 'ok')
        return ''
      },
      onError(error) {
        const failure = exchange.noteFailure(error)
        exchange.endBroken(failure)
        return failure.toBody()
      },
      onCancel(reason) {
        exchange.abort(reason)
        exchange.end(200, 'client_closed', 'client_closed')
      },
    }),
  )
}

/** The events of a completion from a number on; those to come as well. They end as it did: with its error, or after its last chunk. */
export async function* eventsOfCompletion(
  exchange: Exchange,
  context: ServerContext,
  id: string,
  from: number,
): AsyncGenerator<CompletionEvent> {
  const source = { key: eventsKey(exchange.userId, id), gone: () => gone(exchange, context, id) }
  let next = from
  let isDead = false
  for await (const batch of readEvents(exchange, context, source, from, lookMs)) {
    for (const event of batch) {
      if (isDone(event)) return
      yield event
      if (isError(event)) return
    }
    next += batch.length
    if (batch.length > 0) isDead = false
    if (batch.length > 0 || (await context.responses.isAlive(exchange.userId, id))) continue
    if (isDead) throw interrupted()
    // Whoever finds it dead ends it for all; its maker, should it be back, is refused from now on.
    isDead = true
    const end = () => context.eventLog.append(source.key, next, [interrupted().toBody()], { end: true })
    await bounded(context.loaderTimeoutMs, end)
  }
}

const interrupted = (): GatewayError =>
  new GatewayError(
    'response_interrupted',
    'the process that made this completion is gone, or could not keep its events',
  )

/** What the client is told of events that are not there: whether there is, or was, such a completion at all. */
async function gone(exchange: Exchange, context: ServerContext, id: string): Promise<GatewayError> {
  const { userId } = exchange
  const isKnown =
    (await hasLog(context, eventsKey(userId, id))) ||
    (await context.responses.isAlive(userId, id)) ||
    (await context.completions.load(userId, id))
  if (!isKnown) return notFound(id)
  return new GatewayError('invalid_request', 'the events of this completion are not kept (any more)', {
    param: 'Last-Event-ID',
  })
}

/** Whether there is a log, of which only the beginning has gone. */
async function hasLog({ eventLog }: ServerContext, key: string): Promise<boolean> {
  try {
    for await (const _batch of eventLog.read(key, Number.MAX_SAFE_INTEGER, { idleMs: 0 })) break
    return true
  } catch (error) {
    if (error instanceof EventsGoneError) return false
    throw error
  }
}

/** It was not stored, or is gone, or another user's. */
export const notFound = (id: string): GatewayError =>
  new GatewayError('not_found', `Chat completion with id '${id.slice(0, 100)}' not found.`)
