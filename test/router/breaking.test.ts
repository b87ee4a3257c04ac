import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Breakers } from '../../src/router/breakers.ts'
import { breaking } from '../../src/router/breaking.ts'
import { pinned } from '../../src/router/pinned.ts'
import type { ErrorKind } from '../../src/server/errors.ts'
import type { BreakerChange } from '../../src/types.ts'
import { all, error, request, scripted, type Turn, ways } from './scripted.ts'

const down = error('upstream_error')

/** A target behind a breaker that opens with its third failure, for a minute unless said otherwise. */
function broken(turns: Turn[], openFor = 60_000, model = 'm') {
  const changes: BreakerChange[] = []
  const breakers = new Breakers('lab', { minimumRequests: 3, openFor }, (change) => changes.push(change))
  const target = scripted(turns, model)
  return { ...target, raw: target.client, client: breaking(target.client, breakers), breakers, changes }
}

const failing = async (ask: () => Promise<unknown>, times: number): Promise<void> => {
  for (let n = 0; n < times; n++) await ask().catch(() => undefined)
}

for (const [way, ask] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('asks nothing any more once too much has failed, and is told when to come back', async (t) => {
      const { client, asked, changes } = broken([down])
      await failing(() => ask(client), 3)
      t.equal(asked(), 3)
      t.strictSame(changes, [{ target: { provider: 'lab', model: 'm' }, state: 'open' }])
      for (let n = 0; n < 20; n++) {
        await t.rejects(ask(client), { code: 'target_unavailable', status: 503, headers: { 'retry-after': '60' } })
      }
      t.equal(asked(), 3)
      t.ok(Number(client.unavailableMs?.()) > 59_000)
    })

    t.test('asks again once one has tried', async (t) => {
      const { client, asked, changes } = broken([down, down, down, 'ok'], 20)
      await failing(() => ask(client), 3)
      await sleep(25)
      t.equal(client.unavailableMs?.(), undefined)
      await ask(client)
      await ask(client)
      t.equal(asked(), 5)
      t.strictSame(
        changes.map(({ state }) => state),
        ['open', 'half_open', 'closed'],
      )
    })
  })
}

t.test('a client that throws, and makes no promise, has failed as any other', async (t) => {
  const { raw, breakers } = broken(['ok'])
  const complete = (): never => {
    throw down
  }
  const client = breaking({ ...raw, complete }, breakers)
  for (let n = 0; n < 3; n++) await t.rejects(client.complete(request), { code: 'upstream_error' })
  await t.rejects(client.complete(request), { code: 'target_unavailable' })
})

t.test('one tries, and all others are sent away at once', async (t) => {
  const { client, asked } = broken([down, down, down, { pieces: 0, end: 'hang' }], 20)
  await failing(() => client.complete(request), 3)
  await sleep(25)
  void client.stream(request)[Symbol.asyncIterator]().next()
  for (const ask of Object.values(ways)) await t.rejects(ask(client), { code: 'target_unavailable' })
  t.equal(asked(), 4)
})

t.test('what is not the fault of the provider is not counted', async (t) => {
  const innocent: ErrorKind[] = [
    'upstream_rejected',
    'upstream_rate_limited',
    'upstream_quota_exceeded',
    'upstream_auth_error',
    'invalid_request',
    'unsupported',
    'client_closed',
    'shutting_down',
    'internal_error',
  ]
  for (const kind of innocent) {
    const { client, asked } = broken([error(kind)])
    await failing(() => client.complete(request), 10)
    await failing(() => all(client.stream(request)), 10)
    t.equal(asked(), 20, kind)
  }
})

t.test('what is its fault is: before the first piece, and after it', async (t) => {
  const faults: ErrorKind[] = [
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
  for (const kind of faults) {
    for (const pieces of [0, 2]) {
      const { client, asked } = broken([{ pieces, end: error(kind) }])
      await failing(() => all(client.stream(request)), 10)
      t.equal(asked(), 3, `${kind} after ${pieces}`)
    }
  }
})

t.test('clients that leave are not counted, however it then fails', async (t) => {
  const { client, asked } = broken([down])
  await failing(() => client.complete(request, { signal: AbortSignal.abort() }), 10)
  await failing(() => all(client.stream(request, { signal: AbortSignal.abort() })), 10)
  t.equal(asked(), 20)
  const leaving = broken([{ pieces: 2, end: 'hang' }])
  for (let n = 0; n < 10; n++) for await (const _piece of leaving.client.stream(request)) break
  t.equal(leaving.left(), 10)
  t.strictSame(leaving.changes, [])
})

t.test(
  'one that tries and leaves, or is limited, lets the next try; one that is refused has shown enough',
  async (t) => {
    const limited = error('upstream_rate_limited')
    const refused = error('upstream_rejected')
    const { client, changes } = broken([down, down, down, { pieces: 0, end: 'hang' }, limited, refused], 20)
    await failing(() => client.complete(request), 3)
    await sleep(25)
    const stream = client.stream(request)[Symbol.asyncIterator]()
    void stream.next()
    await stream.return?.()
    await t.rejects(client.complete(request), { code: 'rate_limit_exceeded' })
    await t.rejects(client.complete(request), { message: 'upstream_rejected' })
    t.strictSame(
      changes.map(({ state }) => state),
      ['open', 'half_open', 'closed'],
    )
  },
)

t.test('a stream passes as it is', async (t) => {
  const { client, raw } = broken([{ pieces: 3, end: 'ok' }])
  t.strictSame(await all(client.stream(request)), await all(raw.stream(request)))
})

t.test('a client for every model', async (t) => {
  const asking = (model: string) => ({ ...request, model })

  t.test('has a breaker for each of them, which is that of the model that is named elsewhere, too', async (t) => {
    const { client, raw, breakers, asked } = broken([down], 60_000, '*')
    const one = breaking(pinned(raw, 'one'), breakers)
    await failing(() => client.complete(asking('one')), 3)
    await t.rejects(client.complete(asking('one')), { code: 'target_unavailable' })
    await t.rejects(one.complete(request), { code: 'target_unavailable' })
    t.equal(asked(), 3)
    await t.rejects(client.complete(asking('two')), { code: 'upstream_error' })
    t.ok(one.unavailableMs?.())
    t.equal(client.unavailableMs?.(), undefined, 'and is itself available')
  })

  t.test('remembers no name that the provider only refuses, and not too many others', async (t) => {
    const refusing = broken([error('upstream_rejected')], 60_000, '*')
    await failing(() => refusing.client.complete(asking('made-up')), 3)
    t.equal(refusing.breakers.find('made-up'), undefined)

    const { client, breakers } = broken(['ok'], 60_000, '*')
    for (let n = 0; n < 300; n++) await client.complete(asking(`m${n}`))
    t.equal(breakers.find('m0'), undefined)
    t.ok(breakers.find('m299'))
  })
})
