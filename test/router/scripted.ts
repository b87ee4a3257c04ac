import type { CallOptions, ChatCompletion, ChatCompletionChunk, LLMClient, ProviderEvent } from '../../src/index.ts'
import { type ErrorKind, GatewayError, type GatewayErrorOptions } from '../../src/server/errors.ts'

export const request = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

export const error = (kind: ErrorKind, options?: GatewayErrorOptions): GatewayError =>
  new GatewayError(kind, kind, options)

/** What a target does when it is asked: fails, answers, streams some pieces and then fails, or never answers. */
export type Turn = GatewayError | 'ok' | { pieces: number; end: GatewayError | 'ok' | 'hang' }

const piece = (n: number) => ({ choices: [{ index: 0, delta: { content: `${n}` } }] }) as unknown as ChatCompletionChunk

export interface Scripted {
  client: LLMClient
  /** How often it was asked. */
  asked(): number
  /** Streams that were given up by their reader. */
  left(): number
  calls: (CallOptions | undefined)[]
}

/** A target that does one thing after the other, then the last one for ever. */
export function scripted(turns: Turn[], model = 'm'): Scripted {
  const calls: (CallOptions | undefined)[] = []
  let left = 0
  const turn = (call: CallOptions | undefined): Turn => {
    calls.push(call)
    return turns[Math.min(calls.length, turns.length) - 1] ?? 'ok'
  }
  const whole = async (call: CallOptions | undefined): Promise<never> => {
    const now = turn(call)
    if (now instanceof GatewayError) throw now
    return { answer: calls.length } as unknown as never
  }
  const stream = (call: CallOptions | undefined): AsyncIterableIterator<never> => {
    const now = turn(call)
    let sent = 0
    const { pieces, end } =
      now instanceof GatewayError ? { pieces: 0, end: now } : now === 'ok' ? { pieces: 2, end: now } : now
    return {
      async next() {
        if (sent < pieces) return { done: false, value: piece(sent++) as unknown as never }
        if (end === 'hang') return new Promise(() => undefined)
        if (end === 'ok') return { done: true, value: undefined }
        throw end
      },
      async return() {
        left++
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }
  return {
    calls,
    asked: () => calls.length,
    left: () => left,
    client: {
      provider: 'lab',
      model,
      complete: (_request, call) => whole(call) as Promise<ChatCompletion>,
      stream: (_request, call) => stream(call),
      embed: (_request, call) => whole(call),
      responses: {
        create: (_request, call) => whole(call),
        stream: (_request, call) => stream(call) as AsyncIterable<ProviderEvent>,
      },
    },
  }
}

/** Every way in which a client is asked: each reads its answer to the end. */
export const ways: Record<string, (client: LLMClient, call?: CallOptions) => Promise<unknown>> = {
  complete: (client, call) => client.complete(request, call),
  stream: (client, call) => all(client.stream(request, call)),
  embed: async (client, call) => client.embed?.({ model: 'm', input: 'x' }, call),
  'responses.create': async (client, call) => client.responses?.create(request, call),
  'responses.stream': async (client, call) => all(client.responses?.stream(request, call) ?? []),
}

export async function all<Piece>(pieces: AsyncIterable<Piece> | Iterable<Piece>): Promise<Piece[]> {
  const read: Piece[] = []
  for await (const each of pieces) read.push(each)
  return read
}
