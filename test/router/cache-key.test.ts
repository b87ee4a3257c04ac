import t from 'tap'
import { isObject, parseJSON } from '../../src/json.ts'
import { type CacheQuestion, cacheKey } from '../../src/router/cache-key.ts'

const question: CacheQuestion = {
  operation: 'complete',
  request: { model: 'm', messages: [{ role: 'user', content: 'hi' }], temperature: 0.5 },
  plan: 'm at lab',
  userId: 'alice',
}
const key = cacheKey(question)

/** The key of a request as a client would write it. */
function keyOf(json: string, change: Partial<CacheQuestion> = {}): string {
  const request = parseJSON(json)
  if (!isObject(request)) throw new Error('not a request')
  return cacheKey({ ...question, request: request as unknown as CacheQuestion['request'], ...change })
}

t.test('a key is a hash: it says nothing of the request', async (t) => {
  t.match(key, /^cache:[0-9a-f]{64}$/)
})

t.test('order and layout make no difference, at any depth', async (t) => {
  const same = [
    '{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5}',
    '{"temperature":5e-1,\n "messages": [ {"content":"hi", "role":"user"} ], "model":"m"}',
    '{"messages":[{"content":"\\u0068i","role":"user"}],"temperature":0.50,"model":"m"}',
  ]
  for (const json of same) t.equal(keyOf(json), key, json)
})

t.test('what says nothing of the answer makes none', async (t) => {
  const { request } = question
  const more = {
    stream: false,
    store: true,
    metadata: { trace: '7' },
    prompt_cache_key: 'k',
    prompt_cache_retention: '24h',
  }
  for (const [field, value] of Object.entries(more)) {
    t.equal(cacheKey({ ...question, request: { ...request, [field]: value } as CacheQuestion['request'] }), key, field)
  }
})

t.test('every other field makes one, known or not, null or not', async (t) => {
  const fields = {
    model: 'other',
    messages: [{ role: 'user', content: 'hi ' }],
    temperature: 0.6,
    top_p: 1,
    n: 1,
    seed: 0,
    stop: null,
    max_tokens: 10,
    max_completion_tokens: 10,
    presence_penalty: 0,
    frequency_penalty: 0,
    logit_bias: {},
    logprobs: true,
    top_logprobs: 0,
    response_format: { type: 'text' },
    tools: [],
    tool_choice: 'auto',
    parallel_tool_calls: true,
    reasoning_effort: 'low',
    service_tier: 'auto',
    stream_options: { include_usage: true },
    modalities: ['text'],
    user: 'u',
    safety_identifier: 'u',
    x_vendor: [null],
  }
  const keys = Object.entries(fields).map(([field, value]) =>
    cacheKey({ ...question, request: { ...question.request, [field]: value } as CacheQuestion['request'] }),
  )
  t.equal(new Set([...keys, key]).size, Object.keys(fields).length + 1)
})

t.test('lists have an order', async (t) => {
  t.not(keyOf('{"model":"m","messages":[],"stop":["a","b"]}'), keyOf('{"model":"m","messages":[],"stop":["b","a"]}'))
})

t.test('numbers that are one double are different ones all the same', async (t) => {
  const seeds = ['9007199254740992', '9007199254740993', '9223372036854775807', '9223372036854775806', '1e400', '1e401']
  const keys = seeds.map((seed) => keyOf(`{"model":"m","messages":[],"seed":${seed}}`))
  t.equal(new Set(keys).size, seeds.length)
  t.not(keyOf('{"model":"m","messages":[],"seed":1}'), keyOf('{"model":"m","messages":[],"seed":"1"}'))
  t.not(
    keyOf('{"model":"m","messages":[],"seed":9007199254740993}'),
    keyOf('{"model":"m","messages":[],"seed":{"rawJSON":"9007199254740993"}}'),
  )
})

t.test('texts that UTF-8 would make one are different', async (t) => {
  const of = (content: string): string =>
    cacheKey({ ...question, request: { model: 'm', messages: [{ role: 'user', content }] } })
  t.equal(new Set(['\ud800', '\ud801', '\ufffd', 'é', 'e\u0301'].map(of)).size, 5)
})

t.test('operation, plan and user are part of it', async (t) => {
  const others: Partial<CacheQuestion>[] = [
    { operation: 'stream' },
    { operation: 'embed' },
    { plan: 'm at den' },
    { userId: 'bob' },
    { userId: null },
    { userId: 'null' },
    { userId: 'all' },
    { userId: undefined },
  ]
  const keys = others.map((other) => cacheKey({ ...question, ...other }))
  t.equal(new Set([...keys, key]).size, others.length + 1)
})

t.test('where answers are for all, it makes no difference who asks', async (t) => {
  const { request } = question
  const forAll = { ...question, userId: undefined }
  for (const field of ['user', 'safety_identifier']) {
    t.equal(
      cacheKey({ ...forAll, request: { ...request, [field]: 'u' } as CacheQuestion['request'] }),
      cacheKey(forAll),
    )
  }
})
