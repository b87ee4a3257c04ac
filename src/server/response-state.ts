import { setTimeout as sleep } from 'node:timers/promises'
import { foldEvents } from '../responses/fold-events.ts'
import { abandoned, calledOff } from '../responses/response-failure.ts'
import type { ResponseRecord } from '../responses/response-records.ts'
import type { ResponseEvent, ResponseObject } from '../responses/response-types.ts'
import { EventsGoneError } from '../store/event-log.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'

type Stores = Pick<ServerContext, 'responses' | 'eventLog'>

export const isUnderWay = ({ status }: ResponseObject): boolean => status === 'queued' || status === 'in_progress'

/** A response as it stands. One whose process has died is ended here, as failed; whoever asks first does it. */
export async function currentRecord(stores: Stores, userId: string | null, id: string): Promise<ResponseRecord> {
  const record = await stores.responses.load(userId, id)
  if (!record) throw notFound(id)
  if (!isUnderWay(record.response) || (await stores.responses.isAlive(userId, id))) return record
  const error = new GatewayError('response_interrupted', 'the process that made this response is gone')
  if (!(await stores.responses.claimEnd(userId, id))) {
    const ended = await endBySomebody(stores, userId, id)
    // Unless that one has died, too.
    if (!isUnderWay(ended.response)) return ended
  }
  return endFromOutside(stores, userId, record, (response, next) => abandoned(response, error, next))
}

/** As at the end of a stream, for one that this process does not make itself. Its maker is refused from now on. */
export async function cancelFromOutside(
  stores: Stores,
  userId: string | null,
  record: ResponseRecord,
): Promise<ResponseRecord> {
  const { id } = record.response
  if (await stores.responses.claimEnd(userId, id)) return endFromOutside(stores, userId, record, calledOff)
  return endBySomebody(stores, userId, id)
}

/** Milliseconds between two looks at a response that somebody is about to end, and how many there are. */
const lookAgainMs = 100
const looks = 30

/** What somebody else makes of it: its maker at its end, or who else cancels or deletes it. */
async function endBySomebody(stores: Stores, userId: string | null, id: string): Promise<ResponseRecord> {
  for (let look = 0; ; look++) {
    const record = await stores.responses.load(userId, id)
    if (!record) throw notFound(id)
    if (!isUnderWay(record.response) || look === looks) return record
    await sleep(lookAgainMs)
  }
}

/** How often a maker, who does not know yet, may write an event between reading its log and ending it. */
const attempts = 100

/** By whom {@link ResponseRecords.claimEnd} has let. */
async function endFromOutside(
  stores: Stores,
  userId: string | null,
  record: ResponseRecord,
  ending: (response: ResponseObject, next: number) => { response: ResponseObject; events: ResponseEvent[] },
): Promise<ResponseRecord> {
  const key = eventsKey(userId, record.response.id)
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { events, next } = await eventsSoFar(stores, key)
    const response = foldEvents(record.response, events)
    // Who was about to end it before has written that down, and no more.
    const end = isUnderWay(response) ? ending(response, next) : { response, events: [] }
    const isEnded = end.events.length === 0 || (await stores.eventLog.append(key, next, end.events, { end: true }))
    if (!isEnded) continue
    const ended = { ...record, response: end.response }
    await stores.responses.saveEnd(userId, ended)
    return ended
  }
  throw new GatewayError('store_unavailable', 'the response could not be ended', { retryAfter: 1 })
}

/** The events of a log, or those at its end that it still has; and the number that the next one would have. */
async function eventsSoFar(
  { eventLog }: Pick<Stores, 'eventLog'>,
  key: string,
  from = 0,
): Promise<{ events: ResponseEvent[]; next: number }> {
  const events: ResponseEvent[] = []
  try {
    for await (const batch of eventLog.read(key, from, { idleMs: 0 })) {
      if (batch.length === 0) break
      events.push(...(batch as ResponseEvent[]))
    }
    return { events, next: from + events.length }
  } catch (error) {
    if (!(error instanceof EventsGoneError)) throw error
    return error.first === undefined ? { events: [], next: 0 } : eventsSoFar({ eventLog }, key, error.first)
  }
}

const notFound = (id: string): GatewayError =>
  new GatewayError('not_found', `Response with id '${id.slice(0, 100)}' not found.`)
