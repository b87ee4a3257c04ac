import fc from 'fast-check'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { ResponseBuilder } from '../../src/responses/response-builder.ts'
import type { ResponseEvent, ResponseObject } from '../../src/responses/response-types.ts'
import { GatewayError } from '../../src/server/errors.ts'
import type { ChatCompletionChunk } from '../../src/types.ts'
import { call, chunk, end, usage } from './chunks.ts'

/** What an upstream sends, and how it comes to an end. */
export interface Script {
  background: boolean
  chunks: ChatCompletionChunk[]
  ending: 'finish' | 'fail' | 'cancel'
}

const text = fc.string({ unit: 'grapheme', maxLength: 5 })
const logprob = text.map((token) => ({ token, logprob: -1, bytes: [1], top_logprobs: [] }))
const url_citation = { url: 'https://example.com/', title: '', start_index: 0, end_index: 0 }
const extra = fc.constantFrom<object | null>(
  { google: { thought_signature: 's' } },
  { anthropic: { signature: 't' } },
  null,
)

const delta = fc.oneof(
  { weight: 4, arbitrary: text.map((content) => chunk({ content })) },
  { weight: 2, arbitrary: text.map((reasoning_content) => chunk({ reasoning_content })) },
  text.map((refusal) => chunk({ refusal })),
  fc
    .tuple(text, fc.array(logprob, { maxLength: 2 }))
    .map(([content, logprobs]) => chunk({ content }, { logprobs: { content: logprobs, refusal: null } })),
  fc.constant(chunk({ annotations: [{ type: 'url_citation', url_citation }] })),
  extra.map((extra_content) => chunk({ extra_content })),
  fc.constant(chunk({})),
)

/** A call is introduced at its first delta, whenever that comes; those of even indices are of a function. */
function introduced(
  indices: number[],
  pieces: string[],
  places: number[],
): { at: number; chunk: ChatCompletionChunk }[] {
  const known = new Set<number>()
  return indices.map((index, n) => {
    const piece = pieces[n] ?? ''
    const body = index % 2 === 0 ? { function: { arguments: piece } } : { custom: { input: piece } }
    const name = { name: `tool_${index}` }
    const first =
      index % 2 === 0
        ? { type: 'function', function: { ...name, arguments: piece } }
        : { type: 'custom', custom: { ...name, input: piece } }
    const isFirst = !known.has(index)
    const state = index > 1 ? { extra_content: { google: { thoughtSignature: piece } } } : {}
    known.add(index)
    return { at: places[n] ?? 0, chunk: call(index, isFirst ? { id: `call_${index}`, ...first, ...state } : body) }
  })
}

const calls = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 3 }), text, fc.integer({ min: 0, max: 20 })), { maxLength: 10 })
  .map((steps) =>
    introduced(
      steps.map(([index]) => index),
      steps.map(([, piece]) => piece),
      steps.map(([, , at]) => at).sort((a, b) => a - b),
    ),
  )

const finish = fc.constantFrom('stop', 'length', 'tool_calls', 'content_filter')
const counted = usage({ prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 })

export const script: fc.Arbitrary<Script> = fc
  .record({
    background: fc.boolean(),
    deltas: fc.array(delta, { maxLength: 20 }),
    calls,
    finish,
    cut: fc.oneof(fc.constant(undefined), fc.integer({ min: 0, max: 20 })),
    ending: fc.constantFrom<Script['ending']>('finish', 'finish', 'fail', 'cancel'),
  })
  .map(({ background, deltas, calls, finish, cut, ending }) => {
    const placed = deltas.map((chunk, at) => ({ at, chunk }))
    const all = [...placed, ...calls].sort((a, b) => a.at - b.at).map(({ chunk }) => chunk)
    return { background, chunks: [...all, end(finish), counted].slice(0, cut), ending }
  })

/** Plays a script; `onStep` hears of every step, with the events so far. */
export function play(
  { background, chunks, ending }: Script,
  onStep: (builder: ResponseBuilder, events: ResponseEvent[]) => void = () => {},
): { events: ResponseEvent[]; response: ResponseObject } {
  const builder = new ResponseBuilder(asResponseRequest({ model: 'm', input: 'hi', background }))
  const events: ResponseEvent[] = []
  const step = (more: ResponseEvent[]): void => {
    events.push(...more)
    onStep(builder, events)
  }
  if (background) step(builder.queue())
  step(builder.start())
  for (const each of chunks) step(builder.add(each))
  if (ending === 'fail') step(builder.fail(new GatewayError('upstream_error', 'it broke')))
  else step(ending === 'cancel' ? builder.cancel() : builder.finish())
  return { events, response: builder.response }
}
