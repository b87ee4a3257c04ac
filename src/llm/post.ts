import { joined } from '../joined.ts'
import { GatewayError } from '../server/errors.ts'
import type { CallOptions } from '../types.ts'
import { malformed, parseAnswer } from './answer.ts'
import { AsyncQueue } from './async-queue.ts'
import type { Call } from './call.ts'
import { decodeEvents } from './event-stream.ts'
import type { Transport } from './transport.ts'

/** Bytes. A batch of embeddings is long; what is longer would fill the gateway's memory. */
const longestAnswer = 128 * 1024 * 1024

/**
 * A question whose answer is one JSON object.
 *
 * @param faultIn What makes a 200 a failure.
 */
export function postJSON(
  transport: Transport,
  path: string,
  body: object,
  faultIn: (answer: Record<string, unknown>) => GatewayError | undefined,
  call?: CallOptions,
): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const onEnd = (): void => {
      const answer = parseAnswer(joined(chunks).toString('utf8'))
      const fault = answer
        ? faultIn(answer)
        : malformed('the upstream provider answered something that is not a JSON object')
      if (answer && !fault) resolve(answer)
      else reject(fault)
    }
    let size = 0
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      chunks.push(chunk)
      if (size > longestAnswer) upstream.fail(malformed('the upstream provider sent an answer without an end'))
    }
    const upstream = transport.post(path, JSON.stringify(body), false, { onData, onEnd, onError: reject }, call)
  })
}

/** Understands the events of one answer. */
export interface EventReader {
  /** True for a piece of the answer. */
  read(data: string, name?: string): boolean
  /** Nothing more will come. `isDocument`: what came were no events. */
  end(isDocument: boolean): void
}

/**
 * A question whose answer is a stream of events, as fast as they are read.
 *
 * @param readerOf Puts what it understands into the queue, and says when the answer is whole, or what is wrong with it.
 */
export function postForEvents<Event>(
  transport: Transport,
  path: string,
  body: object,
  readerOf: (queue: AsyncQueue<Event>, end: (error?: GatewayError) => void) => EventReader,
  call?: CallOptions,
): AsyncIterable<Event> {
  let upstream: Call | undefined
  const queue = new AsyncQueue<Event>({
    pause: () => upstream?.pause(),
    resume: () => upstream?.resume(),
    cancel: () => upstream?.cancel(),
  })
  const end = (error?: GatewayError): void => {
    queue.end(error)
    if (error) upstream?.cancel()
    else upstream?.endSoon()
  }
  const reader = readerOf(queue, end)
  const overflow = (): void => end(malformed('the upstream provider sent an event without an end'))
  const decode = decodeEvents((data, name) => {
    if (reader.read(data, name)) upstream?.piece()
  }, overflow)
  let first: string | undefined
  const listener = {
    onData(chunk: Buffer): void {
      first ??= chunk.toString('latin1', 0, 64).trimStart()[0]
      decode(chunk)
    },
    // Events begin with a letter or a colon; what begins with a bracket is a document.
    onEnd: () => reader.end(/[{[<]/.test(first ?? '')),
    onError: (error: GatewayError) => queue.end(error),
  }
  upstream = transport.post(path, JSON.stringify(body), true, listener, call)
  return queue
}

/** An answer that ended before it was whole. */
export const brokenOff = (isDocument: boolean): GatewayError =>
  isDocument
    ? // A provider that cannot stream answers as a whole, or not at all; it would do so again, and be paid again.
      new GatewayError('upstream_malformed', 'the upstream provider answered without a stream', {
        headers: { 'x-should-retry': 'false' },
      })
    : new GatewayError('upstream_truncated', 'the upstream provider ended its answer half-way')
