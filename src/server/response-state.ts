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
  if (!record) throw new GatewayError('not_found', `Response with id '${id.slice(0, 100)}' not found.`)
  if (!isUnderWay(record.response) || (await stores.responses.isAlive(userId, id))) return record
  const error = new GatewayError('response_interrupted', 'the process that made this response is gone')
  return endFromOutside(stores, userId, record, (response, next) => abandoned(response, error, next))
}

/** As at the end of a stream, for one that this process does not make itself. Its maker is refused from now on. */
export const cancelFromOutside = (stores: Stores, userId: string | null, record: ResponseRecord) =>
  endFromOutside(stores, userId, record, calledOff)

async function endFromOutside(
  stores: Stores,
  userId: string | null,
  record: ResponseRecord,
  ending: (response: ResponseObject, next: number) => { response: ResponseObject; events: ResponseEvent[] },
): Promise<ResponseRecord> {
  const key = eventsKey(userId, record.response.id)
  const events = await eventsSoFar(stores, key)
  const end = ending(foldEvents(events) ?? record.response, events.length)
  const isFirst = events.length === 0 || (await stores.eventLog.append(key, events.length, end.events, { end: true }))
  // Somebody else was faster: what that one, or the maker itself, made of it.
  if (!isFirst) return (await stores.responses.load(userId, record.response.id)) ?? record
  const ended = { ...record, response: end.response }
  await stores.responses.save(userId, ended)
  return ended
}

async function eventsSoFar({ eventLog }: Stores, key: string): Promise<ResponseEvent[]> {
  const events: ResponseEvent[] = []
  try {
    for await (const batch of eventLog.read(key, 0, { idleMs: 0 })) {
      if (batch.length === 0) break
      events.push(...(batch as ResponseEvent[]))
    }
    return events
  } catch (error) {
    if (error instanceof EventsGoneError) return []
    throw error
  }
}
