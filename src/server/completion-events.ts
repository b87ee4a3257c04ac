import { isObject } from '../json.ts'
import type { ErrorBody } from './errors.ts'

/**
 * The log of a chat completion: first an entry that it has begun, so that it can be followed before its first chunk; then the events as
 * they were sent, the last of which is an error or {@link done}. The number of an entry is the id of its event.
 */
export type CompletionEvent = object

interface Mark {
  signalbox: 'begun' | 'done'
}

export const begun: Mark = { signalbox: 'begun' }
/** Stands for `[DONE]`. */
export const done: Mark = { signalbox: 'done' }
/** The number of the first event that is sent. */
export const firstId = 1

export const isDone = (event: CompletionEvent): boolean => 'signalbox' in event && event.signalbox === done.signalbox

/** No chunk has an `error` with something in it: a stream would have ended with it. */
export const isError = (event: CompletionEvent): event is ErrorBody => 'error' in event && isObject(event.error)
