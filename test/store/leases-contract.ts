import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Lease, Leases } from '../../src/index.ts'

/** What every {@link Leases} keeps. `open` makes one that nobody else uses, and closes it with its test. */
export function keepsTheContract(t: Test, open: (t: Test) => Leases | Promise<Leases>): void {
  t.test('a free lease is had at once, also by who would not wait', async (t) => {
    const leases = await open(t)
    t.ok(await leases.acquire('a', { waitMs: 0 }))
  })

  t.test('a taken one is not had in time', async (t) => {
    const leases = await open(t)
    await taken(leases, 'a')
    const startedAt = performance.now()
    t.equal(await leases.acquire('a', { waitMs: 40 }), undefined)
    t.ok(performance.now() - startedAt >= 35)
    t.equal(await leases.acquire('a', { waitMs: 0 }), undefined)
  })

  t.test('leases of different names do not wait for each other', async (t) => {
    const leases = await open(t)
    await taken(leases, 'a')
    for (const name of ['b', 'A', 'a:', '', '__proto__', 'é', 'x'.repeat(10_000)]) {
      t.ok(await leases.acquire(name, { waitMs: 0 }), JSON.stringify(name.slice(0, 20)))
    }
  })

  t.test('a released one is had by who waits', async (t) => {
    const leases = await open(t)
    const first = await taken(leases, 'a')
    const second = leases.acquire('a', { waitMs: 5000 })
    await sleep(10)
    first.release()
    t.ok(await second)
  })

  t.test('who asks first has it first, and one at a time', async (t) => {
    const leases = await open(t)
    const order: number[] = []
    let holders = 0
    const turn = async (n: number): Promise<void> => {
      const lease = await taken(leases, 'a')
      holders += 1
      t.equal(holders, 1)
      order.push(n)
      await sleep(1)
      holders -= 1
      lease.release()
    }
    const numbers = Array.from({ length: 50 }, (_, n) => n)
    await Promise.all(numbers.map(turn))
    t.strictSame(order, numbers)
  })

  t.test('a second release takes nothing from the next holder', async (t) => {
    const leases = await open(t)
    const first = await taken(leases, 'a')
    first.release()
    await taken(leases, 'a')
    first.release()
    t.equal(await leases.acquire('a', { waitMs: 20 }), undefined)
  })

  t.test('who leaves while waiting hears its own reason, and loses its place', async (t) => {
    const leases = await open(t)
    const first = await taken(leases, 'a')
    const reason = new Error('the client has left')
    const controller = new AbortController()
    const leaving = leases.acquire('a', { waitMs: 5000, signal: controller.signal })
    const next = leases.acquire('a', { waitMs: 5000 })
    controller.abort(reason)
    await t.rejects(leaving, reason)
    first.release()
    t.ok(await next)
  })

  t.test('who has left already gets none', async (t) => {
    const leases = await open(t)
    const reason = new Error('the client has left')
    await t.rejects(leases.acquire('a', { waitMs: 0, signal: AbortSignal.abort(reason) }), reason)
    t.ok(await leases.acquire('a', { waitMs: 0 }))
  })

  t.test('who has given up is not given it', async (t) => {
    const leases = await open(t)
    const first = await taken(leases, 'a')
    t.equal(await leases.acquire('a', { waitMs: 10 }), undefined)
    first.release()
    t.ok(await leases.acquire('a', { waitMs: 0 }))
  })

  t.test('it tells what it is of, and whether it is lost', async (t) => {
    const leases = await open(t)
    const lease = await taken(leases, 'a')
    t.equal(lease.name, 'a')
    t.equal(lease.lost, false)
    lease.release()
    t.equal(lease.lost, true)
  })

  t.test('each has a larger token than those before it', async (t) => {
    const leases = await open(t)
    const tokens: number[] = []
    for (let n = 0; n < 5; n++) {
      const lease = await taken(leases, 'a')
      tokens.push(lease.token)
      lease.release()
    }
    const waiting = [1, 2, 3].map(() => taken(leases, 'a'))
    for (const lease of waiting) {
      tokens.push((await lease).token)
      ;(await lease).release()
    }
    t.ok(tokens.every(Number.isSafeInteger))
    t.strictSame(
      tokens,
      [...new Set(tokens)].sort((one, other) => one - other),
    )
  })

  t.test('leaving after it was had does not take it away', async (t) => {
    const leases = await open(t)
    const controller = new AbortController()
    t.ok(await leases.acquire('a', { waitMs: 0, signal: controller.signal }))
    controller.abort()
    t.equal(await leases.acquire('a', { waitMs: 20 }), undefined)
  })

  t.test('a time longer than a timer can be is not over at once', async (t) => {
    const leases = await open(t)
    const first = await taken(leases, 'a')
    const waiting = [2 ** 31, Number.POSITIVE_INFINITY].map(async (waitMs) => {
      const lease = await leases.acquire('a', { waitMs })
      lease?.release()
      return lease
    })
    await sleep(20)
    first.release()
    for (const lease of await Promise.all(waiting)) t.ok(lease)
  })
}

async function taken(leases: Leases, name: string): Promise<Lease> {
  const lease = await leases.acquire(name, { waitMs: 5000 })
  if (lease) return lease
  throw new Error('the lease should have been free')
}
