import fc from 'fast-check'
import t from 'tap'
import { type BodyLimits, defaultBodyLimits, readJSON } from '../../src/server/body.ts'
import { GatewayError } from '../../src/server/errors.ts'
import { WebRequest } from '../../src/server/web-request.ts'

const json = { 'content-type': 'application/json' }

function post(body: NonNullable<RequestInit['body']>, headers: Record<string, string> = json): Request {
  return new Request('http://localhost/', { method: 'POST', body, headers, duplex: 'half' } as RequestInit)
}

/** A body of unknown length, in these pieces. */
const streamed = (...pieces: (string | Uint8Array)[]): ReadableStream =>
  ReadableStream.from(pieces.map((piece) => Buffer.from(piece as string)))

const read = (request: Request, limits: Partial<BodyLimits> = {}): Promise<unknown> =>
  readJSON({ request: new WebRequest(request), receivedMs: 0 }, { ...defaultBodyLimits, ...limits })

t.test('reads JSON, its length declared or not', async (t) => {
  t.strictSame(await read(post('{"a":[1,"é"]}')), { a: [1, 'é'] })
  t.strictSame(await read(post('{"a":1}', { ...json, 'content-length': '7' })), { a: 1 })
  t.strictSame(await read(post(streamed('{"a":', '1}'))), { a: 1 })
})

t.test('a character may be cut in two by the pieces that it arrives in', async (t) => {
  const bytes = Buffer.from('{"a":"👩‍👧"}')
  for (let cut = 0; cut <= bytes.length; cut++) {
    t.strictSame(await read(post(streamed(bytes.subarray(0, cut), bytes.subarray(cut)))), { a: '👩‍👧' })
  }
})

t.test('the limit', async (t) => {
  const tooLarge = { status: 413, code: 'body_too_large', message: /larger than 20 bytes/ }
  const limits = { bodyLimit: 20 }
  const fitting = JSON.stringify('x'.repeat(18))
  const oversized = JSON.stringify('x'.repeat(19))

  t.test('is 10 MiB by default', async (t) => {
    t.equal(defaultBodyLimits.bodyLimit, 10 * 1024 * 1024)
  })

  t.test('is met by a declared length, without reading', async (t) => {
    t.equal(await read(post(fitting, { ...json, 'content-length': '20' }), limits), 'x'.repeat(18))
    const request = post(oversized, { ...json, 'content-length': '21' })
    await t.rejects(read(request, limits), tooLarge)
    t.notOk(request.bodyUsed)
  })

  t.test('is met by a length that turns out while reading, and nothing more is read', async (t) => {
    t.equal(await read(post(streamed(fitting)), limits), 'x'.repeat(18))
    let sent = 0
    let stopped = false
    async function* endless() {
      try {
        for (;;) {
          sent += 8
          yield Buffer.alloc(8, '[')
        }
      } finally {
        stopped = true
      }
    }
    await t.rejects(read(post(ReadableStream.from(endless())), limits), tooLarge)
    t.ok(sent < 200, `${sent} bytes were taken`)
    t.ok(stopped, 'the sender is stopped')
  })

  t.test('counts bytes, not characters', async (t) => {
    await t.rejects(read(post(JSON.stringify('é'.repeat(10))), limits), tooLarge)
    t.equal(await read(post(JSON.stringify('é'.repeat(9))), limits), 'é'.repeat(9))
  })

  t.test('holds for a body that is longer than it was said to be', async (t) => {
    for (const length of ['1', '0', 'many', '-5']) {
      await t.rejects(read(post(oversized, { ...json, 'content-length': length }), limits), tooLarge, length)
    }
  })
})

t.test('the media type', async (t) => {
  t.test('is JSON in any spelling, plain text, or none at all', async (t) => {
    for (const type of [
      'application/json',
      'Application/JSON; charset=utf-8',
      'application/json;charset=UTF-8',
      'application/problem+json',
      'application/vnd.api+json',
      'text/plain',
      'text/plain;charset=UTF-8',
    ]) {
      t.strictSame(await read(post('{}', { 'content-type': type })), {}, type)
    }
    const untyped = post(Buffer.from('{}'), {})
    t.equal(untyped.headers.get('content-type'), null)
    t.strictSame(await read(untyped), {})
  })

  t.test('is refused when it is anything else', async (t) => {
    for (const type of [
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/xml',
      'application/jsonl',
      'text/html',
      'text/json-ish',
      'x/application/json',
      'json',
      ';;;',
    ]) {
      await t.rejects(
        read(post('{}', { 'content-type': type })),
        { status: 415, code: 'unsupported_media_type', message: /application\/json/ },
        type,
      )
    }
  })
})

t.test('what is not JSON is a 400', async (t) => {
  for (const [name, body] of Object.entries({
    empty: '',
    'white space': ' \r\n\t ',
    'cut short': '{"model":"m"',
    'two values': '{}{}',
    'a trailing comma': '{"a":1,}',
    'a bare word': 'hello',
    NaN: '{"a":NaN}',
  })) {
    await t.rejects(read(post(body)), { name: 'GatewayError', message: /^the request body is/ }, name)
    const error = await read(post(body)).catch((error: unknown) => error)
    t.match(error, { kind: 'invalid_request', status: 400 }, name)
  }
})

t.test('the message says where the fault is, and quotes nothing', async (t) => {
  const error = await read(post('{"password":"hunter2" oops')).catch((error: unknown) => error)
  t.ok(error instanceof GatewayError)
  t.match(error, { message: /position 22/ })
  t.notMatch(JSON.stringify((error as GatewayError).toBody()), /hunter2|oops/)
})

t.test('bytes that are no UTF-8 are a 400', async (t) => {
  for (const bytes of [
    [0x22, 0xff, 0x22],
    [0x22, 0xc3, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
    [0x22, 0xc0, 0xaf, 0x22],
    [0x22, 0xf0, 0x9f, 0x91],
  ]) {
    const body = Uint8Array.from(bytes)
    const name = Buffer.from(bytes).toString('hex')
    await t.rejects(read(post(body)), { status: 400, message: 'the request body is not valid UTF-8' }, name)
    await t.rejects(read(post(streamed(body))), { status: 400, message: 'the request body is not valid UTF-8' }, name)
  }
})

t.test('a byte order mark is no part of the text', async (t) => {
  t.strictSame(await read(post('\uFEFF{"a":1}')), { a: 1 })
  t.strictSame(await read(post(streamed('\uFEFF', '{"a":1}'))), { a: 1 })
  t.strictSame(await read(post('{"a":"\uFEFF"}')), { a: '\uFEFF' }, 'and inside the text it stays')
})

t.test('nesting', async (t) => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

  t.test('is limited to 128 levels by default', async (t) => {
    t.equal(JSON.stringify(await read(post(nested(128)))), nested(128))
    await t.rejects(read(post(nested(129))), { status: 400, message: /nested deeper than 128 levels/ })
  })

  t.test('is limited as configured', async (t) => {
    t.strictSame(await read(post('{"a":[{}]}'), { jsonDepth: 3 }), { a: [{}] })
    await t.rejects(read(post('{"a":[{}]}'), { jsonDepth: 2 }), { status: 400, message: /nested deeper than 2 levels/ })
  })

  t.test('however deep, is a 400 and no overflow', async (t) => {
    for (const body of [
      nested(1_000_000),
      '{"a":'.repeat(300_000) + '1'.concat('}'.repeat(300_000)),
      '['.repeat(1_000_000),
      `${'['.repeat(300_000)}9007199254740993${']'.repeat(300_000)}`,
    ]) {
      await t.rejects(read(post(body)), { name: 'GatewayError', status: 400 }, body.slice(0, 20))
    }
  })
})

t.test('a sender that goes away half-way is no error of the gateway', async (t) => {
  const dying = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('{"a":'))
        controller.error(new Error('the connection is gone'))
      },
    })
  await t.rejects(read(post(dying())), { code: 'client_closed', status: 499 })
  await t.rejects(read(post(dying(), { ...json, 'content-length': '7' })), { code: 'client_closed', status: 499 })
})

t.test('whatever the bytes are, it answers with a value or with an error of the client', async (t) => {
  const property = fc.asyncProperty(
    fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(Buffer.from), fc.string().map(Buffer.from)),
    async (bytes) => {
      const error = await read(post(Buffer.from(bytes))).then(
        () => undefined,
        (error: unknown) => error,
      )
      return error === undefined || (error instanceof GatewayError && error.status === 400)
    },
  )
  await t.resolves(fc.assert(property, { numRuns: 500 }))
})
