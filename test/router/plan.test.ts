import t from 'tap'
import {
  type CallOptions,
  type ErrorKind,
  GatewayError,
  type LLMClient,
  type PlanOptions,
  plan,
} from '../../src/index.ts'
import { type Fake, failureOf, fake, listening, readAll, request } from './clients.ts'

const planOf = (targets: [Fake, priority?: number][], options: Omit<PlanOptions, 'targets'> = {}): LLMClient =>
  plan({ ...options, targets: targets.map(([{ client }, priority]) => ({ client, priority })) })

t.test('the lowest priority is asked, in whatever order the targets are written', async (t) => {
  const [first, second, third] = [fake('first'), fake('second'), fake('third')]
  const client = planOf([
    [third, 20],
    [first, -1],
    [second, 0],
  ])
  for (let n = 0; n < 20; n++) await client.complete(request)
  t.strictSame([first.asked, second.asked, third.asked], [20, 0, 0])
})

t.test('after a failure others of the same priority are asked, then those of the next', async (t) => {
  const [a, b, c, d] = [fake('a'), fake('b'), fake('c'), fake('d')]
  const client = planOf([
    [d, 2],
    [c, 1],
    [a, 0],
    [b, 0],
  ])
  for (const target of [a, b, c]) target.fail('upstream_error')
  const { call, chosen, fallbacks } = listening()
  await client.complete(request, call)
  t.strictSame(chosen.slice(0, 2).sort(), ['a', 'b'])
  t.strictSame(chosen.slice(2), ['c', 'd'])
  t.equal(fallbacks.length, 3)
  t.equal(fallbacks.at(-1), 'c > d: server_error')
})

t.test('which failures another target is asked after', async (t) => {
  const usually: Partial<Record<ErrorKind, string>> = {
    upstream_error: 'server_error',
    upstream_overloaded: 'server_error',
    upstream_malformed: 'server_error',
    upstream_truncated: 'server_error',
    upstream_unreachable: 'connection',
    upstream_connection_lost: 'connection',
    upstream_connect_timeout: 'timeout',
    upstream_idle_timeout: 'timeout',
    upstream_timeout: 'timeout',
    upstream_first_token_timeout: 'first_token_timeout',
    upstream_rate_limited: 'rate_limit',
    upstream_quota_exceeded: 'rate_limit',
    no_target_available: 'unavailable',
  }
  for (const [kind, reason] of Object.entries(usually)) {
    const [a, b] = [fake('a'), fake('b')]
    a.fail(kind as ErrorKind)
    const { call, fallbacks } = listening()
    const client = planOf([[a], [b, 1]])
    await client.complete(request, call)
    await readAll(client.stream(request, call))
    t.strictSame(fallbacks, [`a > b: ${reason}`, `a > b: ${reason}`], kind)
  }
})

t.test('and after which not: what the client, or the gateway, got wrong', async (t) => {
  const kinds: ErrorKind[] = [
    'upstream_rejected',
    'upstream_auth_error',
    'invalid_request',
    'unsupported',
    'client_closed',
    'shutting_down',
    'store_unavailable',
    'internal_error',
    'deadline_exceeded',
  ]
  for (const kind of kinds) {
    const [a, b] = [fake('a'), fake('b')]
    a.fail(kind)
    t.match(await failureOf(planOf([[a], [b, 1]]).complete(request)), { kind })
    t.equal(b.asked, 0, kind)
  }
  const bug: LLMClient = { ...fake('bug').client, complete: () => Promise.reject(new TypeError('a bug')) }
  const other = fake('other')
  await t.rejects(
    plan({ targets: [{ client: bug }, { client: other.client, priority: 1 }] }).complete(request),
    TypeError,
  )
  t.equal(other.asked, 0)
})

t.test('the operator says after which', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const { call, fallbacks } = listening()
  a.fail('upstream_auth_error')
  await planOf([[a], [b, 1]], { fallbackOn: ['auth'] }).complete(request, call)
  t.strictSame(fallbacks, ['a > b: auth'])
  a.fail('upstream_error')
  for (const fallbackOn of [['auth' as const], []]) {
    t.match(await failureOf(planOf([[a], [b, 1]], { fallbackOn }).complete(request)), { kind: 'upstream_error' })
  }
  t.equal(b.asked, 1)
})

t.test('a prompt that is too long goes on only where that is wanted', async (t) => {
  const told = (message: string, code: string | null = null) => ({
    body: { error: { message, type: 'invalid_request_error', param: 'messages', code } },
  })
  const refusals = [
    told('too many', 'context_length_exceeded'),
    told('prompt is too long: 210000 tokens > 200000 maximum'),
    told("This model's maximum context length is 8192 tokens."),
    told('The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).'),
  ]
  const other = fake('other')
  const refusing = (options: object): LLMClient => ({
    ...fake('short').client,
    complete: () => Promise.reject(new GatewayError('upstream_rejected', 'rejected', options)),
  })
  const ask = (options: object, fallbackOn: PlanOptions['fallbackOn']) =>
    plan({ targets: [{ client: refusing(options) }, { client: other.client, priority: 1 }], fallbackOn }).complete(
      request,
    )
  for (const refusal of refusals) {
    t.match(await failureOf(ask(refusal, undefined)), { status: 400 })
    await ask(refusal, ['context_length'])
  }
  t.equal(other.asked, refusals.length)
  t.match(await failureOf(ask(told('temperature is too high'), ['context_length'])), { status: 400 })
  t.match(await failureOf(ask({}, ['context_length'])), { status: 400 })
  t.equal(other.asked, refusals.length)
})

t.test('when all fail, the client is told what helps it most', async (t) => {
  const cases: [[ErrorKind, number?][], ErrorKind, retryAfter?: string][] = [
    [[['upstream_error'], ['upstream_rate_limited', 30]], 'upstream_rate_limited', '30'],
    [[['upstream_rate_limited', 30], ['upstream_overloaded', 2], ['upstream_error']], 'upstream_rate_limited', '30'],
    [
      [
        ['upstream_rate_limited', 9],
        ['upstream_rate_limited', 4],
        ['upstream_rate_limited', 7],
      ],
      'upstream_rate_limited',
      '4',
    ],
    [[['upstream_error'], ['upstream_unreachable', 1], ['upstream_timeout']], 'upstream_unreachable', '1'],
    [[['upstream_connection_lost'], ['upstream_timeout'], ['upstream_error']], 'upstream_timeout'],
    [[['upstream_connection_lost'], ['upstream_error']], 'upstream_error'],
  ]
  for (const [failures, kind, retryAfter] of cases) {
    const targets = failures.map(([kind, wait], index): [Fake, number] => {
      const target = fake(`${index}`)
      target.fail(kind, wait)
      return [target, index]
    })
    const { call, chosen } = listening()
    const error = await planOf(targets)
      .complete(request, call)
      .catch((error: unknown) => error)
    t.match(error, { kind, ...(retryAfter ? { headers: { 'retry-after': retryAfter } } : {}) })
    t.strictSame(
      chosen.slice(0, failures.length),
      failures.map((_, index) => `${index}`),
    )
    t.equal(error instanceof GatewayError && error.message, `${chosen.at(-1)} failed`, 'and whose failure it is')
  }
})

t.test('a target that takes no requests gets none while another is there', async (t) => {
  const [a, b, c] = [fake('a'), fake('b'), fake('c')]
  const client = planOf([[a], [b], [c, 1]])
  a.close(5000)
  for (let n = 0; n < 20; n++) await client.complete(request)
  t.strictSame([a.asked, b.asked, c.asked], [0, 20, 0])
  b.close(3000)
  await readAll(client.stream(request))
  t.strictSame([a.asked, b.asked, c.asked], [0, 20, 1])
  t.equal(client.unavailableMs?.(), undefined)
  c.fail('upstream_error')
  t.match(await failureOf(client.complete(request)), { kind: 'upstream_error' })
  t.strictSame([a.asked, b.asked], [0, 20], 'not even when the others fail')
  c.close(60_000)
  t.equal(client.unavailableMs?.(), 3000)
  const refusal = { kind: 'no_target_available', status: 503, headers: { 'retry-after': '3' } }
  t.match(await failureOf(client.complete(request)), refusal)
  t.match(await failureOf(readAll(client.stream(request))), refusal)
  t.strictSame([a.asked, b.asked, c.asked], [0, 20, 2])
  a.close()
  await client.complete(request)
  t.equal(a.asked, 1)
})

t.test('the only target is no plan: it says itself why it takes no requests', async (t) => {
  const only = fake('only')
  t.equal(planOf([[only]]), only.client)
  const { unavailableMs: _, ...always } = only.client
  t.equal(plan({ targets: [{ client: always }] }), always)
  only.close(7)
  only.fail('target_unavailable', 7)
  for (const client of [planOf([[only]]), planOf([[only]], { deadlineMs: 60_000 })]) {
    const refusal = { kind: 'target_unavailable', headers: { 'retry-after': '7' } }
    t.match(await failureOf(client.complete(request)), refusal)
    t.match(await failureOf(readAll(client.stream(request))), refusal)
    t.equal(client.unavailableMs?.(), 7)
  }
})

t.test('each target is told whether there is another to ask after a failure', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const answers: Record<string, unknown[]> = { a: [], b: [] }
  const failure = (kind: ErrorKind) => new GatewayError(kind, 'failed')
  const asking = ({ client }: Fake, name: string): LLMClient => {
    const note = (call?: CallOptions): void => {
      const asked = (['upstream_error', 'upstream_auth_error'] as const).map((kind) =>
        call?.hasFallback?.(failure(kind)),
      )
      answers[name]?.push(asked)
    }
    return {
      ...client,
      complete(request, call) {
        note(call)
        return client.complete(request, call)
      },
      async *stream(request, call) {
        note(call)
        yield* client.stream(request, call)
        note(call)
      },
    }
  }
  const client = plan({ targets: [{ client: asking(a, 'a') }, { client: asking(b, 'b'), priority: 1 }] })
  a.fail('upstream_error')
  await client.complete(request)
  t.strictSame(answers, { a: [[true, false]], b: [[false, false]] })
  a.fail()
  await readAll(client.stream(request))
  t.strictSame(
    answers.a?.slice(1),
    [
      [true, false],
      [false, false],
    ],
    'not once it has begun to answer',
  )
  b.close(1)
  await client.complete(request)
  t.strictSame(answers.a?.slice(3), [[false, false]], 'nor while the other takes no requests')
  b.close()
  await client.complete(request, { signal: AbortSignal.abort() })
  t.strictSame(answers.a?.slice(4), [[false, false]], 'nor when its client has left')
})

t.test('so is one of a plan that is itself a target', async (t) => {
  const [a, b, other] = [fake('a'), fake('b'), fake('other')]
  const seen: unknown[] = []
  const last: LLMClient = {
    ...b.client,
    complete(request, call) {
      seen.push(call?.hasFallback?.(new GatewayError('upstream_error', 'failed')))
      return b.client.complete(request, call)
    },
  }
  a.fail('upstream_error')
  const inner = plan({ targets: [{ client: a.client }, { client: last, priority: 1 }] })
  await plan({ targets: [{ client: inner }, { client: other.client, priority: 1 }] }).complete(request)
  await inner.complete(request)
  t.strictSame(seen, [true, false])
})

t.test('a plan is a target as well', async (t) => {
  const [a, b, c] = [fake('a'), fake('b'), fake('c')]
  const client = plan({ targets: [{ client: planOf([[a], [b]]) }, { client: c.client, priority: 1 }] })
  a.close(1)
  await client.complete(request)
  b.close(1)
  await client.complete(request)
  t.strictSame([a.asked, b.asked, c.asked], [0, 1, 1])
})

t.test('once its client has left, a request goes nowhere else', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const controller = new AbortController()
  const leaving: LLMClient = {
    ...a.client,
    complete() {
      controller.abort()
      return Promise.reject(new GatewayError('upstream_connection_lost', 'gone'))
    },
    async *stream() {
      yield (await this.complete(request)) as never
    },
  }
  const client = plan({ targets: [{ client: leaving }, { client: b.client, priority: 1 }] })
  const { signal } = controller
  await t.rejects(client.complete(request, { signal }))
  await t.rejects(readAll(client.stream(request, { signal })))
  t.equal(b.asked, 0)
})

t.test('the steps of a run stay where one of them was served', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const client = planOf([[a], [b, 1]])
  const run = {}
  a.fail('upstream_error')
  await client.complete(request, { run })
  a.fail()
  await client.complete(request, { run })
  t.strictSame([a.asked, b.asked], [1, 2])
  await client.complete(request, { run: {} })
  t.strictSame([a.asked, b.asked], [2, 2], 'another run begins at the first again')
  b.close(1)
  await client.complete(request, { run })
  t.equal(a.asked, 3, 'and none waits for a target that takes no requests')
})

t.test('embeddings are only asked of those that make them', async (t) => {
  const [chat, both] = [fake('chat'), fake('both')]
  const embedded: string[] = []
  const embedding: LLMClient = {
    ...both.client,
    async embed({ model }) {
      embedded.push(model)
      return { object: 'list', data: [], model, usage: { prompt_tokens: 1, total_tokens: 1 } }
    },
  }
  const client = plan({ targets: [{ client: chat.client }, { client: embedding, priority: 1 }] })
  await client.embed?.({ model: 'm', input: 'x' })
  t.strictSame(embedded, ['m'])
})

t.test('no targets, or none with a weight, are no plan', async (t) => {
  t.throws(() => plan({ targets: [] }), { message: /at least one target/ })
  t.throws(() => plan({ targets: [{ client: fake('a').client, weight: 0 }] }), { message: /weight above 0/ })
})
