import { getEventListeners } from 'node:events'
import t from 'tap'
import { RetryBudget } from '../../src/router/retry-budget.ts'
import { retrying } from '../../src/router/retrying.ts'
import type { ErrorKind } from '../../src/server/errors.ts'
import type { CallOptions, RetryReport } from '../../src/types.ts'
import { all, error, request, scripted, ways } from './scripted.ts'

const quick = { baseDelay: 1, maxDelay: 4 }
const down = error('upstream_error')
const lost = error('upstream_connection_lost')

/** What a call hears. */
function heard() {
  const retries: RetryReport[] = []
  const spent: object[] = []
  const abort = new AbortController()
  const call: CallOptions = {
    signal: abort.signal,
    onRetry: (retry) => retries.push(retry),
    onRetryBudgetSpent: (retry) => spent.push(retry),
  }
  return { call, abort, retries, spent }
}

for (const [way, ask] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('is asked once when it answers', async (t) => {
      const { client, asked } = scripted(['ok'])
      await ask(retrying(client, quick))
      t.equal(asked(), 1)
    })

    t.test('is asked again until it answers, with the same call', async (t) => {
      const { client, asked, calls } = scripted([down, lost, 'ok'])
      const { call, retries } = heard()
      const answer = await ask(retrying(client, quick), call)
      if (/stream/.test(way)) t.match(answer, { length: 2 })
      else t.strictSame(answer, { answer: 3 })
      t.equal(asked(), 3)
      t.ok(calls.every((each) => each === call))
      t.match(retries, [
        { target: { provider: 'lab', model: 'm' }, attempt: 1, reason: 'upstream_error' },
        { target: { provider: 'lab', model: 'm' }, attempt: 2, reason: 'upstream_connection_lost' },
      ])
    })

    t.test('is asked twice more at most, and fails with its last error', async (t) => {
      const { client, asked } = scripted([down, down, lost])
      await t.rejects(ask(retrying(client, quick)), { code: 'upstream_connection_lost' })
      t.equal(asked(), 3)
    })

    t.test('is not asked again while another can be asked instead, which costs no budget', async (t) => {
      const { client, asked } = scripted([down, lost, 'ok'])
      const { call, retries } = heard()
      const budget = new RetryBudget({ ratio: 0, perSecond: 0.1 })
      const hasFallback = (failure: unknown): boolean => failure === lost
      await t.rejects(ask(retrying(client, { ...quick, budget }), { ...call, hasFallback: () => true }), {
        code: 'upstream_error',
      })
      t.equal(asked(), 1)
      t.strictSame(retries, [])
      t.ok(budget.take())
      const other = scripted([down, lost, 'ok'])
      await t.rejects(ask(retrying(other.client, quick), { ...call, hasFallback }), {
        code: 'upstream_connection_lost',
      })
      t.equal(other.asked(), 2)
    })

    t.test('is not asked again once the budget is spent, and the call hears of it', async (t) => {
      const { client, asked } = scripted([down])
      const { call, retries, spent } = heard()
      const budget = new RetryBudget({ ratio: 0, perSecond: 0.1 })
      await t.rejects(ask(retrying(client, { ...quick, budget }), call), { code: 'upstream_error' })
      t.equal(asked(), 2)
      t.equal(retries.length, 1)
      t.strictSame(spent, [{ target: { provider: 'lab', model: 'm' }, attempt: 2, reason: 'upstream_error' }])
    })

    t.test('is not asked again by whoever leaves in the pause, which ends at once', async (t) => {
      const { client, asked } = scripted([down])
      const { call, abort, retries } = heard()
      t.capture(Math, 'random', () => 0.9)
      const asking = ask(retrying(client, { baseDelay: 20_000 }), call)
      asking.catch(() => undefined)
      while (retries.length === 0) await new Promise((resolve) => setImmediate(resolve))
      abort.abort()
      await t.rejects(asking, { code: 'client_closed' })
      t.equal(asked(), 1)
      t.equal(getEventListeners(abort.signal, 'abort').length, 0)
    })

    t.test('is not asked again by whoever had left before it failed', async (t) => {
      const { client, asked } = scripted([down])
      const { call, abort } = heard()
      abort.abort()
      await t.rejects(ask(retrying(client, quick), call), { code: 'upstream_error' })
      t.equal(asked(), 1)
    })

    t.test('is not asked again when it has become unavailable; the error is the one before', async (t) => {
      const { client, asked } = scripted([down, error('target_unavailable')])
      await t.rejects(ask(retrying(client, quick)), { code: 'upstream_error' }, 'between')
      t.equal(asked(), 2)
      const known = scripted([down])
      const unavailable = { ...known.client, unavailableMs: () => 7 }
      await t.rejects(ask(retrying(unavailable, quick)), { code: 'upstream_error' }, 'before the pause')
      t.equal(known.asked(), 1)
      t.equal(retrying(unavailable, quick).unavailableMs?.(), 7, 'which others can see, too')
    })
  })
}

t.test('what is tried again', async (t) => {
  const retried: ErrorKind[] = [
    'upstream_rate_limited',
    'upstream_error',
    'upstream_connection_lost',
    'upstream_truncated',
    'upstream_unreachable',
    'upstream_overloaded',
    'upstream_connect_timeout',
    'upstream_first_token_timeout',
    'upstream_idle_timeout',
    'upstream_timeout',
  ]
  const final: ErrorKind[] = [
    'invalid_request',
    'unsupported',
    'upstream_rejected',
    'upstream_quota_exceeded',
    'upstream_auth_error',
    'upstream_malformed',
    'target_unavailable',
    'client_closed',
    'conversation_locked',
    'shutting_down',
    'internal_error',
  ]
  for (const kind of [...retried, ...final]) {
    const { client, asked } = scripted([error(kind)])
    await t.rejects(retrying(client, quick).complete(request), { message: kind })
    t.equal(asked(), retried.includes(kind) ? 3 : 1, kind)
  }
  const { client, asked } = scripted([error('upstream_error', { headers: { 'x-should-retry': 'false' } })])
  await t.rejects(retrying(client, quick).complete(request))
  t.equal(asked(), 1, 'nothing that asks not to be')
  const bug = { ...client, complete: () => Promise.reject(new TypeError('a bug')) }
  await t.rejects(retrying(bug, quick).complete(request), { name: 'TypeError' }, 'no bug')
})

t.test('the pauses', async (t) => {
  const delays = async (options: object, failure = down): Promise<number[]> => {
    const { client } = scripted([failure])
    const { call, retries } = heard()
    await retrying(client, { max: 4, baseDelay: 4, maxDelay: 10, ...options })
      .complete(request, call)
      .catch(() => undefined)
    return retries.map(({ delayMs }) => delayMs)
  }

  t.test('are drawn from twice as much each time, up to the longest', async (t) => {
    t.capture(Math, 'random', () => 0.5)
    t.strictSame(await delays({}), [2, 4, 5, 5])
  })

  t.test('are those that the provider asks for, and a little more', async (t) => {
    t.capture(Math, 'random', () => 0.5)
    t.strictSame(await delays({ max: 2 }, error('upstream_overloaded', { askedWaitMs: 30, retryAfter: 1 })), [32, 34])
  })

  t.test('last as long as they say', async (t) => {
    const { client } = scripted([error('upstream_overloaded', { askedWaitMs: 120 }), 'ok'])
    const before = performance.now()
    await retrying(client, quick).complete(request)
    t.ok(performance.now() - before >= 119)
  })

  t.test('are not made when they would end after the deadline', async (t) => {
    const slow = error('upstream_rate_limited', { askedWaitMs: 5000, retryAfter: 5 })
    t.strictSame(await delays({ deadline: 4000 }, slow), [])
    t.strictSame(await delays({ deadline: 0 }), [], 'not even the shortest')
  })
})

t.test('a stream', async (t) => {
  t.test('that has begun is never asked for again', async (t) => {
    const { client, asked } = scripted([{ pieces: 1, end: lost }, 'ok'])
    const pieces: unknown[] = []
    const read = async (): Promise<void> => {
      for await (const piece of retrying(client, quick).stream(request)) pieces.push(piece)
    }
    await t.rejects(read(), { code: 'upstream_connection_lost' })
    t.equal(pieces.length, 1)
    t.equal(asked(), 1)
  })

  t.test('that ends without a piece has ended', async (t) => {
    const { client, asked } = scripted([{ pieces: 0, end: 'ok' }])
    t.strictSame(await all(retrying(client, quick).stream(request)), [])
    t.equal(asked(), 1)
  })

  t.test('is asked for at once, not when it is read', async (t) => {
    const { client, asked } = scripted(['ok'])
    retrying(client, quick).stream(request)
    t.equal(asked(), 1)
  })

  t.test('that its reader leaves is left at the provider', async (t) => {
    const { client, asked, left } = scripted([down, { pieces: 2, end: 'hang' }])
    for await (const _piece of retrying(client, quick).stream(request)) break
    t.equal(asked(), 2)
    t.equal(left(), 1)
  })

  t.test('that its reader leaves in the pause is not asked for again', async (t) => {
    const { client, asked } = scripted([down])
    const { call, retries } = heard()
    t.capture(Math, 'random', () => 0.9)
    const stream = retrying(client, { baseDelay: 20_000 }).stream(request, call)[Symbol.asyncIterator]()
    const first = stream.next()
    while (retries.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await stream.return?.()
    t.strictSame(await first, { done: true, value: undefined })
    t.equal(asked(), 1)
  })
})

t.test('what an unavailable target sends away makes no room in the budget', async (t) => {
  const { client } = scripted([error('target_unavailable')])
  const budget = new RetryBudget({ ratio: 1, perSecond: 0 })
  const away = retrying({ ...client, unavailableMs: () => 7 }, { budget })
  for (let n = 0; n < 20; n++) await away.complete(request).catch(() => undefined)
  t.notOk(budget.take())
  await retrying(scripted(['ok']).client, { budget }).complete(request)
  t.ok(budget.take())
})

t.test('a client that cannot do everything stays one', async (t) => {
  const { client } = scripted(['ok'])
  const { provider, model, complete, stream } = client
  const plain = retrying({ provider, model, complete, stream })
  t.equal(plain.embed, undefined)
  t.equal(plain.responses, undefined)
  t.equal(plain.unavailableMs, undefined)
  t.match(plain, { provider: 'lab', model: 'm' })
})
