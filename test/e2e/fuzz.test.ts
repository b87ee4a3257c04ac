import { deepStrictEqual, equal, match, notEqual, ok } from 'node:assert/strict'
import { METHODS } from 'node:http'
import fc from 'fast-check'
import t from 'tap'
import { boundedRuns } from '../bounded-runs.ts'
import { eventually } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { type RawAnswer, type TalkOptions, talk } from '../raw-http.ts'
import { scraped, sumOf } from '../scrape.ts'
import { type Behaviour, completion, type Json, startUpstream } from '../upstream.ts'

/** Answers everything, whatever it asks. */
const patient: Behaviour = (request, exchange) =>
  request.path.endsWith('/embeddings')
    ? exchange.json(200, { object: 'list', data: [], model: 'e', usage: { prompt_tokens: 1, total_tokens: 1 } })
    : completion({ text: 'fine', n: 1, logprobs: false })(request, exchange)

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const gateway = await startGateway(t, { upstream, config: { server: { bodyLimit: 1_000_000 } } })
t.beforeEach(() => {
  upstream.reset()
  upstream.behave(patient)
})

const ask = { model: 'openai/m', messages: [{ role: 'user', content: 'hello there' }] }
const posts = ['/v1/chat/completions', '/v1/embeddings']

/** What holds of every answer to whatever was sent. */
function sane({ status, headers, body }: RawAnswer, head = false): number {
  notEqual(status, 500, body)
  match(headers['x-request-id'] ?? '', /^req_[\w-]+$/, `${status} ${body}`)
  if (status >= 400 && !head) {
    match(headers['content-type'] ?? '', /^application\/json/)
    assertSchema('ErrorResponse', JSON.parse(body))
  }
  return status
}

/** Posts, and returns the status of a sane answer. */
async function post(path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<number> {
  const answer = await gateway.post(path, body, { headers })
  return sane({ status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() })
}

/** Speaks over a bare socket, and returns the statuses of sane answers. */
async function statuses(parts: (string | Uint8Array | number)[], options: TalkOptions = {}): Promise<number[]> {
  const answers = await talk(gateway.port, parts, options)
  return answers.map((answer) => sane(answer, options.head))
}

/** A request as bytes. */
function message(method: string, target: string, headers: string[], body = ''): string {
  const all = ['host: gateway', 'content-type: application/json', ...headers]
  const length = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`]
  return [`${method} ${target} HTTP/1.1`, ...all, ...length, '', body].join('\r\n')
}

const question = message('POST', '/v1/chat/completions', [], JSON.stringify(ask))

t.afterEach(async () => {
  upstream.reset()
  const answer = await gateway.client().chat.completions.create({
    model: 'openai/m',
    messages: [{ role: 'user', content: 'still there?' }],
  })
  equal(answer.choices[0]?.message.content, 'You said: still there?')
})

t.test('any JSON, to every route that takes a body', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...posts), fc.json({ stringUnit: 'binary' }), async (path, body) => {
      equal(await post(path, body), 400)
    }),
    boundedRuns(300),
  )
})

t.test('any bytes, to every route that takes a body', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...posts), fc.uint8Array({ maxLength: 200 }), async (path, body) => {
      equal(await post(path, body), 400)
    }),
    boundedRuns(200),
  )
})

/** Every field that the gateway looks at, and some that it does not. */
const full: Json = {
  ...ask,
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', name: 'a', content: [{ type: 'text', text: 'b' }] },
    { role: 'assistant', content: null, tool_calls: [{ id: 'c', type: 'function', function: { name: 'd' } }] },
  ],
  stream_options: { include_usage: true, x: 1 },
  tools: [{ type: 'function', function: { name: 'e', parameters: {} } }],
  tool_choice: 'auto',
  functions: [{ name: 'f' }],
  response_format: { type: 'json_object' },
  parallel_tool_calls: true,
  stop: ['g'],
  temperature: 1,
  top_p: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
  n: 1,
  max_tokens: 10,
  max_completion_tokens: 10,
  logprobs: true,
  top_logprobs: 2,
  logit_bias: { '1': 1 },
  metadata: { h: 'i' },
  user: 'j',
  seed: 1,
  x_vendor: { deep: [{ er: null }] },
}

type Path = (string | number)[]

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  return [path, ...keys.flatMap((key) => pathsOf((value as Json)[key], [...path, key]))]
}

/** The value with the part at the path replaced. */
function replaced(value: unknown, [key, ...path]: Path, part: unknown): unknown {
  if (key === undefined) return part
  const copy: Json = Array.isArray(value) ? ([...value] as unknown as Json) : { ...(value as Json) }
  copy[key] = replaced(copy[key], path, part)
  return copy
}

const hole = 'HOLE'
/** A request, whole or streamed, with a hole somewhere. */
const torn = fc
  .tuple(fc.boolean(), fc.constantFrom(...pathsOf(full).filter((path) => path.length > 0)))
  .map(([stream, path]) => JSON.stringify(replaced({ ...full, stream }, path, hole)).split(JSON.stringify(hole)))

t.test('a value of any type in the place of any field', async (t) => {
  const seen = new Set<number>()
  await fc.assert(
    fc.asyncProperty(torn, fc.json({ maxDepth: 2 }), async ([before, after], value) => {
      seen.add(await post('/v1/chat/completions', `${before}${value}${after}`))
    }),
    boundedRuns(500),
  )
  t.ok(
    [...seen].every((status) => status === 200 || status === 400 || status === 404),
    [...seen].join(),
  )
  t.ok(seen.has(200) && seen.has(400))
})

t.test('numbers of any size in the place of any field', async (t) => {
  const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 400 })
  const number = fc
    .tuple(fc.constantFrom('', '-'), digits, fc.option(digits), fc.option(fc.integer({ min: -99999, max: 99999 })))
    .map(([sign, whole, fraction, exponent]) => {
      const significant = whole.replace(/^0+(?=\d)/, '')
      return `${sign}${significant}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : `e${exponent}`}`
    })
  const seen = new Set<number>()
  await fc.assert(
    fc.asyncProperty(torn, number, async ([before, after], value) => {
      seen.add(await post('/v1/chat/completions', `${before}${value}${after}`))
    }),
    boundedRuns(300),
  )
  t.ok(
    [...seen].every((status) => status === 200 || status === 400),
    [...seen].join(),
  )
})

t.test('nesting as deep as it gets in the place of any field', async () => {
  const depth = fc.constantFrom(100, 200, 1000, 10_000, 100_000)
  const shape = fc.constantFrom<[string, string, string]>(
    ['[', '', ']'],
    ['{"a":', '1', '}'],
    ['[{"a":', '12345678901234567890', '}]'],
    ['[', '', ''],
    ['{"a":', '', ''],
  )
  await fc.assert(
    fc.asyncProperty(torn, depth, shape, async ([before, after], depth, [open, middle, close]) => {
      const nested = open.repeat(depth) + middle + close.repeat(depth)
      const status = await post('/v1/chat/completions', `${before}${nested}${after}`)
      if (depth > 128 || close === '') equal(status, 400)
      else ok(status === 200 || status === 400)
    }),
    boundedRuns(60),
  )
})

t.test('half a surrogate pair, escaped, reaches the upstream as it is', async (t) => {
  for (const half of ['\\ud800', '\\udfff', '\\udc00\\ud800', '\\ud83d\\ude00']) {
    const body = `{"model":"openai/m","messages":[{"role":"user","content":"${half}"}],"${half}":["${half}"]}`
    t.equal(await post('/v1/chat/completions', body), 200)
    t.strictSame(upstream.last().body, JSON.parse(body.replace('openai/', '')))
  }
})

t.test('bytes that are not UTF-8, anywhere', async () => {
  const text = Buffer.from(JSON.stringify(full))
  const broken = fc.constantFrom([0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0x80])
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length), broken, async (at, bytes) => {
      const body = Buffer.concat([text.subarray(0, at), Buffer.from(bytes), text.subarray(at)])
      equal(await post('/v1/chat/completions', body), 400)
    }),
    boundedRuns(100),
  )
  equal(await post('/v1/chat/completions', Buffer.from(`\uFEFF${JSON.stringify(ask)}`, 'utf16le')), 400)
})

t.test('any content type', async (t) => {
  const token = fc.string({ unit: fc.constantFrom(...'abjson/+;=. -_"'), maxLength: 30 })
  const seen = new Set<number>()
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        token,
        token.map((rest) => `application/json${rest}`),
      ),
      async (type) => {
        seen.add(await post('/v1/chat/completions', JSON.stringify(ask), { 'content-type': type }))
      },
    ),
    boundedRuns(200),
  )
  t.ok(
    [...seen].every((status) => status === 200 || status === 415),
    [...seen].join(),
  )
})

t.test('a body that is encoded in a way that nobody asked for', async (t) => {
  t.ok(
    [400, 415].includes(
      await post('/v1/chat/completions', Buffer.from([31, 139, 8, 0]), { 'content-encoding': 'gzip' }),
    ),
  )
})

t.test('any method and any path', async (t) => {
  const target = fc.oneof(
    fc.constantFrom(
      '/',
      '//',
      '/v1',
      '/v1/models/',
      '/v1/models/%',
      '/v1/models/%ff',
      '/v1/models/..',
      '/v1/../health',
    ),
    fc.constantFrom(
      '*',
      '/v1/models/a?b=c#d',
      '/V1/MODELS',
      '/v1//models',
      '/health/',
      '/ready?x',
      '/%00',
      '/v1/models;a',
    ),
    fc.webPath().map((path) => `/v1/models${path}`),
    fc.string({ unit: fc.constantFrom(...'/v1models%2F.?#&=:@\\|"<>^`{}~*'), maxLength: 20 }).map((rest) => `/${rest}`),
    fc.constantFrom(
      'http://evil/v1/models',
      'https://evil:1/v1/models/x',
      'HTTP://evil',
      'http://',
      'ftp://a/b',
      'a:b',
    ),
  )
  const method = fc.constantFrom(...METHODS, 'GET', 'POST', 'get', 'FOO', 'M!')
  await fc.assert(
    fc.asyncProperty(method, target, async (method, target) => {
      const head = method === 'HEAD'
      const seen = await statuses([message(method, target, ['connection: close'])], { head, patience: 500 })
      if (method !== 'CONNECT') equal(seen.length, 1, `${method} ${target} was not answered`)
    }),
    boundedRuns(500),
  )
  t.same(await statuses([message('GET', 'http://elsewhere/v1/models/openai/m', [])]), [200])
  t.same(await statuses([message('OPTIONS', '*', [])]), [204])
})

const strange: Record<string, { request: string; expected: number | number[]; options?: TalkOptions }> = {
  'no Host': { request: question.replace('host: gateway\r\n', ''), expected: [200, 400] },
  'two Hosts': { request: question.replace('host:', 'host: a\r\nhost:'), expected: [200, 400] },
  'an empty Host': { request: question.replace('host: gateway', 'host:'), expected: [200, 400] },
  'a Host that is none': { request: question.replace('gateway', 'a b/c@d:e'), expected: 400 },
  'a Host with a path': { request: question.replace('gateway', 'a/../b'), expected: 400 },
  'a Host of other bytes': { request: question.replace('gateway', '\u00e9\u00ff'), expected: [200, 400] },
  'no content type': { request: question.replace('content-type: application/json\r\n', ''), expected: 200 },
  'two content types': { request: question.replace('host:', 'content-type: text/html\r\nhost:'), expected: [200, 415] },
  'two keys': { request: question.replace('host:', 'authorization: a\r\nauthorization: b\r\nhost:'), expected: 200 },
  'two lengths': { request: question.replace('content-length', 'content-length: 3\r\ncontent-length'), expected: 400 },
  'a negative length': { request: question.replace(/content-length: /, 'content-length: -'), expected: 400 },
  'a length that is none': { request: question.replace(/content-length: /, 'content-length: x'), expected: 400 },
  'a length beyond the limit': { request: question.replace(/(content-length: )/, '$199999'), expected: 413 },
  'a length beyond all limits': {
    request: question.replace(/(content-length: )/, `$1${'9'.repeat(30)}`),
    expected: 400,
  },
  'a length and chunks': { request: question.replace('host:', 'transfer-encoding: chunked\r\nhost:'), expected: 400 },
  'a transfer encoding that nobody speaks': {
    request: question.replace(/content-length: \d+/, 'transfer-encoding: gzip'),
    expected: [400, 501],
  },
  'no length': { request: question.replace(/content-length: \d+\r\n/, ''), expected: 400 },
  'an expectation': { request: question.replace('host:', 'expect: 100-continue\r\nhost:'), expected: 200 },
  'an expectation that nobody can meet': {
    request: question.replace('host:', 'expect: wonders\r\nhost:'),
    expected: [200, 417],
  },
  'an upgrade': {
    request: question.replace('host:', 'connection: upgrade\r\nupgrade: websocket\r\nhost:'),
    expected: [200, 400, 426],
  },
  'a header name that is none': { request: question.replace('host:', 'a b: c\r\nhost:'), expected: 400 },
  'a header without a colon': { request: question.replace('host:', 'nonsense\r\nhost:'), expected: 400 },
  'a folded header': { request: question.replace('host:', 'x: a\r\n b\r\nhost:'), expected: [200, 400] },
  'a control character in a header': { request: question.replace('gateway', 'gate\u0000way'), expected: 400 },
  'a header called __proto__': { request: question.replace('host:', '__proto__: a\r\nhost:'), expected: 200 },
  'bare line feeds': { request: question.replaceAll('\r\n', '\n'), expected: [200, 400] },
  'many headers': { request: question.replace('host:', `${'a: b\r\n'.repeat(2500)}host:`), expected: [200, 431] },
  'a huge header': { request: question.replace('gateway', 'a'.repeat(100_000)), expected: 431 },
  'a huge path': { request: message('GET', `/${'a'.repeat(100_000)}`, []), expected: [414, 431] },
  'a huge method': { request: `${'A'.repeat(100_000)} / HTTP/1.1\r\n\r\n`, expected: [400, 431] },
  'version 1.0': { request: question.replace('HTTP/1.1', 'HTTP/1.0'), expected: [200] },
  'version 9.9': { request: question.replace('HTTP/1.1', 'HTTP/9.9'), expected: 400 },
  'the preface of HTTP/2': { request: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', expected: 400 },
  'the start of TLS': { request: '\u0016\u0003\u0001\u0002\u0000\u0001', expected: 400 },
}

for (const [name, { request, expected, options }] of Object.entries(strange)) {
  t.test(`a request with ${name} is answered, in the envelope`, async (t) => {
    const [status, ...more] = await statuses([Buffer.from(request, 'latin1')], options)
    t.ok(status !== undefined && [expected].flat().includes(status), `${status} of ${expected}`)
    t.same(more, [])
  })
}

t.test('a body in chunks of any size, cut anywhere', async (t) => {
  const body = JSON.stringify({ ...ask, x: 'é漢😀' })
  const bytes = Buffer.from(body)
  const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 10 })
  await fc.assert(
    fc.asyncProperty(sizes, sizes, fc.constantFrom('', ';a=b', ';c'), async (chunks, segments, extension) => {
      const chunked = [...slices(bytes, chunks)].map((chunk) =>
        Buffer.concat([Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`), chunk, Buffer.from('\r\n')]),
      )
      const head = message('POST', '/v1/chat/completions', ['transfer-encoding: chunked'])
      const whole = Buffer.concat([Buffer.from(head), ...chunked, Buffer.from('0\r\ntrailer: x\r\n\r\n')])
      deepStrictEqual(await statuses([...slices(whole, segments)]), [200])
      equal(upstream.last().rawBody, body.replace('openai/', ''))
    }),
    boundedRuns(100),
  )

  const head = message('POST', '/v1/chat/completions', ['transfer-encoding: chunked'])
  const big = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  t.same(await statuses([head, ...Array.from({ length: 32 }, () => big)]), [413], 'refused before its end')
  t.same(await statuses([head, 'xyz\r\n']), [400])
  t.same(await statuses([head, '-1\r\n\r\n']), [400])
  t.same(await statuses([head, '3\r\nabcdef\r\n']), [400])
  t.same(await statuses([head, '0\r\n\r\n']), [400])
})

/** Cuts the bytes into pieces of these sizes, over and over. */
function* slices(bytes: Buffer, sizes: number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length
    yield bytes.subarray(at, at + size)
    at += size
  }
}

t.test('requests behind one another are answered in order', async (t) => {
  const list = message('GET', '/v1/models', [])
  const missing = message('GET', '/v1/models/nope', [])
  const bad = message('POST', '/v1/embeddings', [], '{')
  const all = [question, list, bad, missing, question].join('')
  t.same(await statuses([all], { answers: 5 }), [200, 200, 400, 404, 200])
})

t.test('garbage behind a good request', async (t) => {
  const answers = await statuses([question, 50, '\u0000\u0001garbage\r\n\r\n'], { answers: 2, patience: 500 })
  t.equal(answers[0], 200)
})

t.test('any bytes at all', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
      const seen = await statuses([bytes], { patience: 20 })
      ok(seen.every((status) => status === 400))
    }),
    boundedRuns(100),
  )
})

t.test('a request with any of its bytes changed, lost or doubled', async () => {
  const bytes = Buffer.from(question)
  const edit = fc.tuple(fc.nat(bytes.length - 1), fc.constantFrom('change', 'lose', 'double'), fc.nat(255))
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      const copy = [...bytes].map((byte) => [byte])
      for (const [at, kind, byte] of edits) {
        copy[at] = kind === 'lose' ? [] : kind === 'double' ? [bytes[at] ?? 0, byte] : [byte]
      }
      await statuses([Buffer.from(copy.flat())], { patience: 60 })
    }),
    boundedRuns(300),
  )
})

t.test('a body that never arrives whole', async (t) => {
  const cut = question.length - 10
  const before = gateway.requestLines().length
  for (const end of [cut, question.indexOf('{') + 1, question.indexOf('{')]) {
    const seen = await statuses([question.slice(0, end)], { patience: 20 })
    t.ok(seen.every((status) => status === 400))
  }
  const lines = gateway.requestLines().slice(before)
  t.match(
    lines,
    [1, 2, 3].map(() => ({ outcome: 'client_closed', status: 499 })),
  )
  t.equal(upstream.requests.length, 0)
})

t.test('a client that is too slow', async (t) => {
  const hasty = await startGateway(t, {
    upstream,
    config: { server: { timeouts: { headers: '1s', request: '1s' } } },
  })
  const slow: Record<string, (string | number)[]> = {
    'with the head': [question.slice(0, 20)],
    'with the body': [question.slice(0, -10)],
    'with a body in chunks': [message('POST', '/v1/chat/completions', ['transfer-encoding: chunked']), '3\r\n{"a\r\n'],
    'a byte at a time': [...question.slice(0, -1)].slice(0, 40).flatMap((byte) => [byte, 100]),
  }
  await Promise.all(
    Object.entries(slow).map(async ([name, parts]) => {
      const answers = await talk(hasty.port, parts)
      t.same(
        answers.map((answer) => sane(answer)),
        [408],
        name,
      )
    }),
  )
  t.equal(hasty.app.oaiServer.openRequests, 0)
})

t.test('after all that, nothing is left open and nothing has gone wrong inside', async (t) => {
  t.equal(gateway.app.oaiServer.openRequests, 0)
  t.ok(gateway.requestLines().length > 1000)
  t.same(
    gateway.logs.filter(({ level, status }) => level === 50 || status === 500),
    [],
  )
})

t.test('when all of that is over, metrics show nothing under way, and no listener has failed', async (t) => {
  await eventually(() => gateway.app.oaiServer.openRequests === 0)
  const samples = await scraped(gateway.url)
  t.equal(sumOf(samples, 'signalbox_in_flight_requests'), 0)
  t.equal(sumOf(samples, 'signalbox_open_streams'), 0)
  t.equal(sumOf(samples, 'signalbox_listener_errors_total'), undefined)
})
