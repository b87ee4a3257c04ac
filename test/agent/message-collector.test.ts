import t from 'tap'
import { MessageCollector, toRequestMessage } from '../../src/agent/message-collector.ts'
import { parseJSON } from '../../src/json.ts'
import { toJSONText, withSource } from '../../src/source.ts'
import type { ChunkDelta } from '../../src/types.ts'
import type { Json } from '../upstream.ts'

/** The message that the deltas are together. */
function collected(...deltas: Json[]): unknown {
  const collector = new MessageCollector()
  for (const delta of deltas) collector.add(delta as ChunkDelta)
  return collector.message
}

const called = (index: number | undefined, rest: Json): Json => ({
  tool_calls: [{ ...(index === undefined ? {} : { index }), ...rest }],
})

t.test('text, thoughts and refusals are continued', async (t) => {
  t.strictSame(
    collected(
      { role: 'assistant', content: '', refusal: null },
      { reasoning_content: 'Hm' },
      { reasoning_content: 'm.' },
      { content: 'Hel' },
      { content: 'lo' },
      {},
    ),
    { reasoning_content: 'Hmm.', role: 'assistant', content: 'Hello' },
  )
  t.strictSame(collected({ content: null }, { refusal: 'I ' }, { refusal: "can't" }), {
    refusal: "I can't",
    role: 'assistant',
    content: null,
  })
})

t.test('nothing is an empty message', async (t) => {
  t.strictSame(collected(), { role: 'assistant', content: '' })
  t.strictSame(collected({ role: 'assistant', content: null }), { role: 'assistant', content: '' })
})

t.test('calls are put together by their index, however they interleave', async (t) => {
  t.strictSame(
    collected(
      called(0, { id: 'a', type: 'function', function: { name: 'one', arguments: '' } }),
      called(1, { id: 'b', type: 'function', function: { name: 'two', arguments: '{"x"' } }),
      called(0, { function: { arguments: '{}' } }),
      called(1, { function: { arguments: ':1}' } }),
    ),
    {
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'one', arguments: '{}' } },
        { id: 'b', type: 'function', function: { name: 'two', arguments: '{"x":1}' } },
      ],
      role: 'assistant',
      content: null,
    },
  )
})

t.test('fields that are filled up with nothing, or repeated, take nothing away', async (t) => {
  t.match(
    collected(
      called(0, { id: 'a', type: 'function', function: { name: 'one', arguments: '{' } }),
      called(0, { id: '', type: 'function', function: { name: '', arguments: '}' } }),
      called(0, { id: null, type: null, function: { name: null, arguments: null } }),
      called(0, { id: 'a', type: 'function', function: { name: 'one', arguments: ' ' } }),
    ),
    { tool_calls: [{ id: 'a', type: 'function', function: { name: 'one', arguments: '{} ' } }] },
  )
})

t.test('whole calls that all have the same index, or none, are as many calls', async (t) => {
  const whole = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })
  for (const index of [0, undefined]) {
    t.match(collected(called(index, whole('a')), called(index, whole('b'))), { tool_calls: [whole('a'), whole('b')] })
  }
  t.match(collected({ tool_calls: [whole('a'), whole('b')] }), { tool_calls: [whole('a'), whole('b')] })
})

t.test('an id that changes from delta to delta is still one call', async (t) => {
  const message = collected(
    called(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '{' } }),
    called(0, { id: 'b', function: { arguments: '}' } }),
  )
  t.match(message, { tool_calls: [{ function: { name: 'f', arguments: '{}' } }] })
  t.equal((message as { tool_calls: unknown[] }).tool_calls.length, 1)
})

t.test('custom calls, and what providers want to see again', async (t) => {
  t.match(
    collected(
      { extra_content: { google: { thought_signature: 'abc' } } },
      called(0, { id: 'a', type: 'custom', custom: { name: 'sh', input: 'l' }, extra_content: { google: { s: 1 } } }),
      called(0, { custom: { input: 's' } }),
    ),
    {
      extra_content: { google: { thought_signature: 'abc' } },
      tool_calls: [
        { id: 'a', type: 'custom', custom: { name: 'sh', input: 'ls' }, extra_content: { google: { s: 1 } } },
      ],
    },
  )
  t.match(collected({ extra_content: { a: { s: 1 } } }, { extra_content: null }), { extra_content: undefined })
})

t.test('unknown fields: lists get longer, objects are merged, of the rest the last counts', async (t) => {
  t.match(
    collected(
      { reasoning_details: [{ text: 'a' }], box: { x: '1', n: 1 }, flag: true },
      { reasoning_details: [{ text: 'b' }], box: { x: '2', n: 2, y: 3 }, flag: false },
    ),
    { reasoning_details: [{ text: 'a' }, { text: 'b' }], box: { x: '12', n: 2, y: 3 }, flag: false },
  )
})

t.test('content of parts and of texts, in any order', async (t) => {
  const thinking = { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }
  t.match(collected({ content: '' }, { content: [thinking] }, { content: 'So' }, { content: ' it is' }), {
    content: [thinking, { type: 'text', text: 'So it is' }],
  })
  t.match(collected({ content: 'So' }, { content: [thinking] }), { content: [{ type: 'text', text: 'So' }, thinking] })
})

t.test('of a spoken answer only the id is kept', async (t) => {
  t.strictSame(
    collected({ audio: { id: 'audio_1', data: 'AA' } }, { audio: { data: 'BB', transcript: 'hi' } }, { content: null }),
    { role: 'assistant', content: null, audio: { id: 'audio_1' } },
  )
})

t.test('the deltas stay as they are, and so does what they were parsed from', async (t) => {
  const text = '{"content":"a","box":{"list":[1.0]},"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{"}}]}'
  const delta = withSource(JSON.parse(text), text)
  const collector = new MessageCollector()
  collector.add(delta)
  collector.add({ content: 'b', box: { list: [2], more: 1 } } as ChunkDelta)
  collector.add(called(0, { function: { arguments: '}' } }) as ChunkDelta)
  t.strictSame(delta, JSON.parse(text))
  t.equal(toJSONText(delta), text)
  t.match(collector.message, { content: 'ab', box: { list: [1, 2], more: 1 } })
})

t.test('a number that no double holds keeps all its digits', async (t) => {
  const delta = parseJSON('{"box":{"seed":12345678901234567890},"seed":98765432109876543210}') as ChunkDelta
  t.equal(
    JSON.stringify(collected(delta as Json, delta as Json)),
    '{"box":{"seed":12345678901234567890},"seed":98765432109876543210,"role":"assistant","content":""}',
  )
})

t.test('no field reaches the prototype of all objects', async (t) => {
  const evil = JSON.parse('{"__proto__":{"evil":true},"box":{"__proto__":{"evil":true}},"constructor":{"a":1}}')
  const { box } = collected(evil, evil) as { box: Json }
  t.equal(box.evil, undefined)
  t.equal(({} as Json).evil, undefined)
  t.match(collected({ toString: 'a' }, { toString: 'b' }), { toString: 'ab' })
})

t.test('an answer becomes a message of the next request', async (t) => {
  t.strictSame(toRequestMessage({ role: 'assistant', content: 'a', refusal: null, annotations: [], tool_calls: [] }), {
    role: 'assistant',
    content: 'a',
  })
})
