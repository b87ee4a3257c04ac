import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import type { Actual, AppliedLimit, Limiter, LimiterOptions, LimitName, Refusal, Reservation } from '../../src/index.ts'
import { boundedRuns } from '../bounded-runs.ts'

/** Long enough for a busy machine to do what a test does within one window. */
export const windowMs = 3000

/** One limit of a key, unless the test says whose it is. */
export const limit = (
  name: LimitName,
  cap: number,
  amount = 1,
  of: Partial<Pick<AppliedLimit, 'scope' | 'id'>> = {},
): AppliedLimit => ({ limit: name, scope: 'key', id: 'a', cap, amount, ...of })

export const granted = async (limiter: Limiter, ...limits: AppliedLimit[]): Promise<Reservation> => {
  const answer = await limiter.reserve(limits)
  if (answer.granted) return answer
  throw new Error(`refused by ${answer.limits[answer.by]?.limit}`)
}

export const refused = async (limiter: Limiter, ...limits: AppliedLimit[]): Promise<Refusal> => {
  const answer = await limiter.reserve(limits)
  if (!answer.granted) return answer
  throw new Error('granted')
}

export const nothing: Actual = { tokens: 0, usd: 0, keyId: undefined }
const unknown: Actual = { tokens: undefined, usd: undefined, keyId: undefined }
/** Reserves, and settles, so much so often that it is known how good such estimates are. */
export const wellKnown = async (limiter: Limiter, one: AppliedLimit, error = 0, times = 16): Promise<void> => {
  const actual = one.amount + error
  for (let n = 0; n < times; n++) {
    await limiter.settle(await granted(limiter, one), { tokens: actual, usd: actual / 1e9, keyId: undefined })
  }
}

const usd = (amount: number): number => amount * 1e9

/** So many errors say what is usual. */
const enoughSeen = 16

const nameOf = ({ limit, scope }: AppliedLimit): string => `${limit} ${scope}`
const doubted = new Set<LimitName>(['tokens', 'usd_day', 'usd_month'])

/** What every {@link Limiter} keeps. `open` makes one that nobody else uses, and closes it with its test. */
export function keepsTheContract(
  t: Test,
  open: (t: Test, options?: LimiterOptions) => Limiter | Promise<Limiter>,
): void {
  t.test('so many requests within a window, and no more; then there is room again', async (t) => {
    const limiter = await open(t, { windowMs })
    const startedAt = performance.now()
    for (let n = 1; n <= 5; n++) {
      const { uses } = await granted(limiter, limit('requests', 5))
      t.match(uses, [{ limit: 'requests', scope: 'key', used: n, cap: 5 }])
    }
    const refusal = await refused(limiter, limit('requests', 5))
    t.match(refusal, { by: 0, isTooLarge: false, uses: [{ used: 5, cap: 5 }] })
    const { retryAfterMs } = refusal
    t.ok(retryAfterMs > 0 && retryAfterMs <= (windowMs * 61) / 60, `in ${retryAfterMs} ms`)
    await sleep(retryAfterMs + 10)
    await granted(limiter, limit('requests', 5))
    t.ok(performance.now() - startedAt >= windowMs, 'not before the window is over')
  })

  t.test('what was settled is still a request', async (t) => {
    const limiter = await open(t)
    await limiter.settle(await granted(limiter, limit('requests', 1)), nothing)
    await refused(limiter, limit('requests', 1))
  })

  t.test('tokens are as many as was expected until it is known how many they were', async (t) => {
    const limiter = await open(t)
    const first = await granted(limiter, limit('tokens', 100, 60))
    await refused(limiter, limit('tokens', 100, 41))
    await limiter.settle(first, { ...nothing, tokens: 10 })
    const second = await granted(limiter, limit('tokens', 100, 90))
    await refused(limiter, limit('tokens', 100, 1))
    await limiter.settle(second, { ...nothing, tokens: 150 })
    const { uses } = await refused(limiter, limit('tokens', 100, 1))
    t.match(uses, [{ used: 160 }], 'what was more than expected is owed')
  })

  t.test('what nobody knows stays as it was expected', async (t) => {
    const limiter = await open(t)
    const limits = [limit('tokens', 100, 60), limit('usd_day', usd(1), usd(0.6))]
    await limiter.settle(await granted(limiter, ...limits), unknown)
    t.match(await refused(limiter, ...limits), { uses: [{ used: 60 }, { used: 0.6 }] })
  })

  t.test('a reservation is settled once', async (t) => {
    const limiter = await open(t)
    const limits = [limit('tokens', 100, 60), limit('concurrency', 2), limit('usd_month', usd(1), usd(0.6))]
    const first = await granted(limiter, ...limits)
    await limiter.settle(first, nothing)
    await limiter.settle(first, nothing)
    const { uses } = await granted(limiter, ...limits)
    t.match(uses, [{ used: 60 }, { used: 1 }, { used: 0.6 }])
  })

  t.test('slots are taken until their request is settled', async (t) => {
    const limiter = await open(t)
    const [first] = [await granted(limiter, limit('concurrency', 2)), await granted(limiter, limit('concurrency', 2))]
    t.match(await refused(limiter, limit('concurrency', 2)), { isTooLarge: false, retryAfterMs: 1000 })
    await limiter.settle(first, nothing)
    await granted(limiter, limit('concurrency', 2))
    await refused(limiter, limit('concurrency', 2))
  })

  t.test('budgets of a day and of a month end when those end', async (t) => {
    const limiter = await open(t)
    const limits = (amount: number) => [limit('usd_day', usd(1), usd(amount)), limit('usd_month', usd(10), usd(amount))]
    await limiter.settle(await granted(limiter, ...limits(0.9)), { ...nothing, usd: 0.8 })
    const { uses } = await granted(limiter, ...limits(0.2))
    t.match(uses, [
      { limit: 'usd_day', used: 1, cap: 1 },
      { limit: 'usd_month', used: 1, cap: 10 },
    ])
    const refusal = await refused(limiter, ...limits(0.1))
    t.match(refusal, { by: 0 })
    const midnight = new Date().setUTCHours(24, 0, 0, 0) - Date.now()
    t.ok(Math.abs(refusal.retryAfterMs - midnight) < 5000)
  })

  t.test('either all limits are taken from, or none', async (t) => {
    const limiter = await open(t)
    const own = [limit('requests', 10), limit('tokens', 100, 10), limit('concurrency', 10), limit('usd_day', usd(1), 1)]
    const full = limit('requests', 1, 1, { scope: 'gateway', id: '' })
    await granted(limiter, full)
    t.match(await refused(limiter, ...own, full), { by: 4, uses: own.map(() => ({ used: 0 })) })
    const { uses } = await granted(limiter, ...own)
    t.strictSame(
      uses.map(({ used }) => used),
      [1, 10, 1, 1e-9],
    )
  })

  t.test('of several limits the one is told that takes longest', async (t) => {
    const limiter = await open(t)
    const limits = [limit('concurrency', 1), limit('tokens', 10, 10), limit('usd_month', usd(1), usd(1))]
    await granted(limiter, ...limits)
    t.match(await refused(limiter, ...limits), { by: 2 })
    t.match(await refused(limiter, ...limits.slice(0, 2)), { by: 1 })
  })

  t.test('what is larger than a limit never fits', async (t) => {
    const limiter = await open(t)
    t.match(await refused(limiter, limit('requests', 5), limit('tokens', 100, 101)), { by: 1, isTooLarge: true })
  })

  t.test('limits of different names, scopes and owners have nothing to do with each other', async (t) => {
    const limiter = await open(t)
    const owners = ['a', 'A', 'a:b', '', '__proto__', '{limits}', '}{', 'é', 'x'.repeat(1000)]
    for (const id of owners) {
      for (const scope of ['key', 'model', 'gateway'] as const) {
        for (const name of ['requests', 'tokens', 'concurrency', 'usd_day', 'usd_month'] as const) {
          await granted(limiter, limit(name, 1, 1, { scope, id }))
        }
      }
    }
    for (const id of owners) await refused(limiter, limit('requests', 1, 1, { id }))
  })

  t.test('a cap that is changed holds at once', async (t) => {
    const limiter = await open(t)
    for (let n = 0; n < 3; n++) await granted(limiter, limit('requests', 3))
    await granted(limiter, limit('requests', 4))
    await refused(limiter, limit('requests', 2))
  })

  t.test('what a key has used today and this month is known, with limits and without', async (t) => {
    const limiter = await open(t, { countsUsage: true })
    const unused = { requests: 0, tokens: 0, usd: 0 }
    t.strictSame(await limiter.usageOf('k'), { today: unused, month: unused })
    await limiter.settle(await granted(limiter, limit('requests', 5)), { tokens: 10, usd: 0.25, keyId: 'k' })
    await limiter.settle(await granted(limiter), { tokens: 5, usd: 0.5, keyId: 'k' })
    await limiter.settle(await granted(limiter), { tokens: undefined, usd: undefined, keyId: 'k' })
    const used = { requests: 3, tokens: 15, usd: 0.75 }
    t.strictSame(await limiter.usageOf('k'), { today: used, month: used })
    t.strictSame(await limiter.usageOf('other'), { today: unused, month: unused })
  })

  t.test('at the same time as one after the other: as many as there is room for', async (t) => {
    const limiter = await open(t)
    const limits = [limit('requests', 1000), limit('tokens', 1000, 30), limit('concurrency', 40)]
    await wellKnown(limiter, limit('tokens', 1000, 1))
    const answers = await Promise.all(Array.from({ length: 200 }, () => limiter.reserve(limits)))
    t.equal(answers.filter(({ granted }) => granted).length, 32)
  })

  t.test('while little is known, what is under way may come to four times its estimate', async (t) => {
    const limiter = await open(t)
    const first = await granted(limiter, limit('tokens', 100, 20))
    const refusal = await refused(limiter, limit('tokens', 100, 21))
    t.match(refusal, { by: 0, isInDoubt: true, isTooLarge: false, retryAfterMs: 1000, uses: [{ used: 20, held: 60 }] })
    const second = await granted(limiter, limit('tokens', 100, 20))
    t.match(second.uses, [{ used: 40, held: 60 }])
    for (const one of [first, second]) await limiter.settle(one, { ...nothing, tokens: 40 })
    await granted(limiter, limit('tokens', 100, 10))
    t.match(await refused(limiter, limit('tokens', 100, 1)), { isInDoubt: true, uses: [{ used: 90 }] })
    t.match(await refused(limiter, limit('tokens', 100, 11)), { isInDoubt: false, uses: [{ used: 90 }] })
  })

  t.test('what is known to be well estimated is trusted to the last token', async (t) => {
    const limiter = await open(t)
    await wellKnown(limiter, limit('tokens', 100, 1))
    await wellKnown(limiter, limit('usd_day', 100, 1))
    for (const name of ['tokens', 'usd_day'] as const) {
      for (let n = 0; n < 21; n++) await granted(limiter, limit(name, 100, 4))
      t.match(await refused(limiter, limit(name, 100, 1)), { isInDoubt: false })
    }
  })

  t.test('for each one under way there is room to be as wrong as the second worst so far', async (t) => {
    const limiter = await open(t)
    await wellKnown(limiter, limit('tokens', 1000, 10), 5)
    await wellKnown(limiter, limit('tokens', 1000, 10), -5)
    const before = 16 * 15 + 16 * 5
    const limits = [limit('tokens', 1000, 10)]
    const answers = await Promise.all(Array.from({ length: 100 }, () => limiter.reserve(limits)))
    // One has no doubts about itself.
    t.equal(answers.filter(({ granted }) => granted).length, Math.floor((1000 - before + 5) / 15))
  })

  t.test('a single answer that is longer than all others holds up nobody; a second one does', async (t) => {
    const limiter = await open(t)
    await wellKnown(limiter, limit('usd_day', 1000, 1))
    await wellKnown(limiter, limit('usd_day', 1000, 1), 400, 1)
    const one = await granted(limiter, limit('usd_day', 1000, 10))
    for (let n = 0; n < 5; n++) await granted(limiter, limit('usd_day', 1000, 10))
    await limiter.settle(one, { ...nothing, usd: 110e-9 })
    t.match(await refused(limiter, limit('usd_day', 1000, 10)), { isInDoubt: true })
  })

  t.test('what came to nothing, or nobody knows, says nothing of estimates', async (t) => {
    const limiter = await open(t)
    await wellKnown(limiter, limit('tokens', 100, 2), -2)
    for (let n = 0; n < 20; n++) await limiter.settle(await granted(limiter, limit('tokens', 100, 2)), unknown)
    await granted(limiter, limit('tokens', 100, 10))
    t.match(await refused(limiter, limit('tokens', 100, 30)), { isInDoubt: true, uses: [{ used: 50 }] })
  })

  t.test('what nobody estimates is no doubt', async (t) => {
    const limiter = await open(t)
    for (let n = 0; n < 10; n++) await granted(limiter, limit('usd_day', 10, 0), limit('requests', 10))
    await granted(limiter, limit('usd_day', 10, 10))
  })

  t.test('a cap is passed by no more than the error of one, whoever is under way at the same time', async (t) => {
    const property = fc.asyncProperty(
      fc.array(
        fc.record({ amount: fc.integer({ min: 20, max: 60 }), share: fc.float({ min: 0, max: 1, noNaN: true }) }),
        {
          minLength: 30,
          maxLength: 80,
        },
      ),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 3, max: 160 }),
      fc.infiniteStream(fc.nat(100)),
      async (requests, worst, outlier, choices) => {
        const limiter = await open(t)
        const cap = 1200
        const underWay: [Reservation, number][] = []
        let settled = 0
        const settle = async (): Promise<void> => {
          // Whose errors are assumed to be known is over by then: the two that are as wrong as any but one.
          const isAssumed = ++settled === enoughSeen - 1 || settled === enoughSeen
          const [one] = underWay.splice(isAssumed ? 0 : (choices.next().value ?? 0) % underWay.length, 1)
          if (one) await limiter.settle(one[0], { tokens: one[1], usd: one[1] / 1e9, keyId: undefined })
        }
        let [used, tried, largest] = [0, 0, 0]
        for (const { amount, share } of requests) {
          const limits = [limit('tokens', cap, amount), limit('usd_month', cap, amount)]
          const answer = await limiter.reserve(limits)
          // Two are as wrong as any but one, which is as wrong as none: of the others nobody knows until they are over.
          const error = tried++ < 2 ? worst : Math.round(share * worst)
          const actual = amount + (tried === outlier ? 5 * worst : error)
          if (answer.granted) {
            underWay.push([answer, actual])
            largest = Math.max(largest, actual - amount)
            used += actual
          }
          if (underWay.length > 0 && (!answer.granted || (choices.next().value ?? 0) < 30)) await settle()
        }
        while (underWay.length > 0) await settle()
        if (used > cap + largest) throw new Error(`${used} of ${cap}, where none is wrong by more than ${largest}`)
      },
    )
    await fc.assert(property, boundedRuns(40))
  })

  t.test('whatever is reserved and settled, what is used is what was reserved and settled', async (t) => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant('reserve' as const),
        tokens: fc.nat(60),
        usd: fc.nat(60),
        scopes: fc.subarray(['key', 'model', 'gateway'] as const, { minLength: 1 }),
      }),
      fc.record({ do: fc.constant('settle' as const), which: fc.nat(20), tokens: fc.nat(80), usd: fc.nat(80) }),
    )
    const caps = { requests: 15, tokens: 200, concurrency: 4, usd_day: 150, usd_month: 300 }
    const names = Object.keys(caps) as LimitName[]
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (sequence) => {
      const limiter = await open(t)
      const model = new Map<string, number>()
      const used = (one: AppliedLimit): number => model.get(`${one.limit} ${one.scope}`) ?? 0
      const add = (one: AppliedLimit, amount: number): unknown =>
        model.set(`${one.limit} ${one.scope}`, used(one) + amount)
      const underWay: Reservation[] = []
      const seen = new Map<string, number[]>()
      const largest = new Map<string, number>()
      const flying = (name: string): number[] =>
        underWay.flatMap(({ limits }) => limits.filter((one) => nameOf(one) === name).map(({ amount }) => amount))
      // What is under way may be as wrong as the second worst so far, or by three times the largest of it while few are known.
      const doubt = (each: AppliedLimit): number => {
        if (!doubted.has(each.limit) || each.amount === 0) return 0
        const count = flying(nameOf(each)).filter((amount) => amount > 0).length
        const errors = seen.get(nameOf(each)) ?? []
        const [, second = 0] = errors.toSorted((one, other) => other - one)
        return count * Math.max(0, second, errors.length < enoughSeen ? 3 * (largest.get(nameOf(each)) ?? 0) : 0)
      }
      for (const one of sequence) {
        if (one.do === 'reserve') {
          const amounts = { requests: 1, tokens: one.tokens, concurrency: 1, usd_day: one.usd, usd_month: one.usd }
          const limits = one.scopes.flatMap((scope) =>
            names.map((name) => limit(name, caps[name], amounts[name], { scope, id: scope })),
          )
          const fits = limits.every((each) => used(each) + doubt(each) + each.amount <= each.cap)
          const answer = await limiter.reserve(limits)
          if (answer.granted !== fits) throw new Error(`granted ${answer.granted}, and not ${fits}`)
          if (answer.granted) {
            for (const each of limits) {
              add(each, each.amount)
              const before = flying(nameOf(each)).some((amount) => amount > 0) ? (largest.get(nameOf(each)) ?? 0) : 0
              largest.set(nameOf(each), Math.max(before, each.amount))
            }
            underWay.push(answer)
          }
          for (const [n, each] of limits.entries()) {
            const told = Math.round((answer.uses[n]?.used ?? -1) * (each.limit.startsWith('usd') ? 1e9 : 1))
            if (told !== used(each)) throw new Error(`${each.limit} of ${each.scope}: ${told}, and not ${used(each)}`)
          }
        } else if (underWay.length > 0) {
          const [reservation] = underWay.splice(one.which % underWay.length, 1)
          if (!reservation) continue
          await limiter.settle(reservation, { tokens: one.tokens, usd: one.usd / 1e9, keyId: 'k' })
          for (const each of reservation.limits) {
            const actual = each.limit === 'tokens' ? one.tokens : one.usd
            if (each.amount > 0 && actual > 0 && doubted.has(each.limit)) {
              seen.set(nameOf(each), [...(seen.get(nameOf(each)) ?? []), actual - each.amount])
            }
            if (each.limit === 'tokens') add(each, one.tokens - each.amount)
            if (each.limit === 'concurrency') add(each, -1)
            if (each.limit.startsWith('usd')) add(each, one.usd - each.amount)
          }
        }
      }
    })
    await fc.assert(property, boundedRuns(40))
  })

  t.test('in no window more is admitted than the cap, and in the long run not much less', async (t) => {
    const short = 600
    const limiter = await open(t, { windowMs: short })
    const cap = 30
    const admitted: [at: number, by: number][] = []
    const until = performance.now() + 4 * short
    while (performance.now() < until) {
      const from = performance.now()
      const answer = await limiter.reserve([limit('requests', cap)])
      // It was admitted at some moment between these two.
      if (answer.granted) admitted.push([from, performance.now()])
      await sleep(Math.random() * 8)
    }
    for (const [, by] of admitted) {
      const within = admitted.filter(([at, until]) => at >= by && until <= by + short).length
      t.ok(within <= cap, `${within} within a window`)
    }
    t.ok(admitted.length >= 2 * cap, `${admitted.length} in four windows`)
  })
}
