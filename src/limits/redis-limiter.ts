import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyLimits } from '../auth/auth-plugin.ts'
import type { StoreListener } from '../store/observed-store.ts'
import type { RedisConnection } from '../store/redis-connection.ts'
import { redisKey } from '../store/redis-key.ts'
import { StoreUnavailable } from '../store/store-unavailable.ts'
import type { StoreReport } from '../types.ts'
import { differences, errorOf, isEstimate, nameOf, nano, refusalOf, useOf } from './accounting.ts'
import { HeldSlots } from './held-slots.ts'
import { Insurance, type InsuranceOptions } from './insurance.ts'
import type { Actual, AppliedLimit, KeyUsage, Limiter, LimiterOptions, Refusal, Reservation, Used } from './limiter.ts'
import { dayOf, monthOf, monthsAround } from './periods.ts'
import { steps } from './sliding-window.ts'

export interface RedisLimiterOptions extends LimiterOptions, InsuranceOptions {
  /** How long a slot stays taken when its process is gone, in milliseconds. Held, it is renewed every third of that. Default 15 000. */
  leaseMs?: number | undefined
  /** Hears what Redis was asked for. */
  tell?: StoreListener | undefined
}

/** A reservation that Redis knows of. */
interface Recorded extends Reservation {
  /** By its clock. Empty when its answer was never heard. */
  madeAt: number | ''
  month: number | ''
}

/** A reservation may be settled for so long after it was last held, in milliseconds. */
const settleableMs = 600_000

/** Usage is kept until its month is over, in milliseconds. */
const usageMs = 32 * 86_400_000

/** What could not be settled is tried again for so long, in milliseconds, and of so many at a time. */
const patienceMs = 300_000
const mostUnsettled = 10_000

/** In one slot of a cluster: see the scripts. */
const keyOf = (name: string): string => redisKey('limit', `{limits}${name}`)
const openKey = keyOf('open')
const flyingKey = (limit: AppliedLimit): string => keyOf(`flying:${nameOf(limit)}`)

/** Where a limit is kept, and where it is kept how wrong estimates of it are. */
const keysOf = (limit: AppliedLimit): string[] =>
  isEstimate(limit)
    ? [keyOf(nameOf(limit)), keyOf(`errors:${nameOf(limit)}`), flyingKey(limit)]
    : [keyOf(nameOf(limit))]
const usageKey = (keyId: string): string => keyOf(`usage:${keyId}`)

/** Limits for all who are connected to one Redis: one round trip before a request, and one after it. */
export class RedisLimiter implements Limiter {
  readonly gateway: KeyLimits
  readonly countsUsage: boolean
  readonly defaultOutputTokens: number
  readonly #connection: RedisConnection
  readonly #insurance: Insurance
  readonly #held: HeldSlots
  readonly #leaseMs: number
  readonly #stepMs: number
  readonly #tell: StoreListener | undefined
  /** What Redis was asked for, and has not answered, of what this process has granted by itself. */
  readonly #asked = new WeakMap<Reservation, Recorded>()
  #unsettled = 0
  #isClosed = false

  constructor(connection: RedisConnection, options: RedisLimiterOptions = {}) {
    const {
      gateway = {},
      countsUsage = false,
      defaultOutputTokens = 1024,
      windowMs = 60_000,
      leaseMs = 15_000,
    } = options
    this.gateway = gateway
    this.countsUsage = countsUsage
    this.defaultOutputTokens = defaultOutputTokens
    this.#connection = connection
    this.#insurance = new Insurance(options)
    this.#leaseMs = leaseMs
    this.#stepMs = windowMs / steps
    this.#tell = options.tell
    this.#held = new HeldSlots(leaseMs / 3, (slots) => this.#hold(slots))
  }

  /** @throws StoreUnavailable while Redis is away, and one of the limits is closed then */
  async reserve(limits: readonly AppliedLimit[]): Promise<Reservation | Refusal> {
    const id = crypto.randomUUID()
    if (limits.length === 0) return { granted: true, id: `late:${id}`, limits, uses: [] }
    const keys = [openKey, ...limits.flatMap(keysOf)]
    const args = limits.flatMap((one) => [kinds[one.limit], one.cap, one.amount, isEstimate(one) ? 1 : 0])
    const times = [this.#leaseMs, settleableMs, this.#stepMs, ...monthsAround(Date.now())]
    try {
      const answer = await this.#timed('reserve', (redis) =>
        redis.signalboxReserve(keys.length, ...keys, id, ...times, ...args),
      )
      return this.#told(id, limits, answer)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      return this.#reserveHere(id, limits, error)
    }
  }

  async settle(reservation: Reservation, actual: Actual): Promise<void> {
    const asked = this.#asked.get(reservation)
    if (asked) {
      await this.#insurance.settle(reservation, actual)
      return this.#settle(asked, actual)
    }
    // There was nothing to take, and nobody to count for.
    if (reservation.limits.length === 0 && actual.keyId === undefined) return
    this.#held.release(reservation.id)
    await this.#settle({ madeAt: '', month: '', ...reservation }, actual)
  }

  async usageOf(keyId: string): Promise<KeyUsage> {
    const [clock, usage] = await this.#timed('usage', (redis) =>
      Promise.all([redis.time(), redis.hgetall(usageKey(keyId))]),
    )
    const now = Number(clock[0]) * 1000
    const used = (name: 'day' | 'month', period: number): Used => {
      const field = (part: string): number =>
        Number(usage[name]) === period ? Number(usage[`${name}_${part}`] ?? 0) : 0
      return { requests: field('requests'), tokens: field('tokens'), usd: field('usd') / nano }
    }
    return { today: used('day', dayOf(now)), month: used('month', monthOf(now)) }
  }

  close(): void {
    this.#isClosed = true
    this.#held.close()
  }

  #told(id: string, limits: readonly AppliedLimit[], answer: readonly number[]): Reservation | Refusal {
    const [isGranted, madeAt = 0, month = 0, ...numbers] = answer
    const granted = isGranted === 1
    const at = (n: number, field: number): number => numbers[4 * n + field] ?? 0
    const uses = limits.map((limit, n) => useOf(limit, at(n, 0), at(n, 2), at(n, 3), granted))
    for (const [n, limit] of limits.entries()) this.#insurance.note(limit, at(n, 0) + (granted ? limit.amount : 0))
    const waits = limits.map((_, n) => at(n, 1))
    if (!granted) return refusalOf(limits, uses, waits)
    const reservation: Recorded = { granted, id, limits, uses, madeAt, month }
    const slots = limits.flatMap((one) => {
      if (one.limit === 'concurrency') return keyOf(nameOf(one))
      return isEstimate(one) ? flyingKey(one) : []
    })
    this.#held.hold(id, slots)
    return reservation
  }

  /**
   * Redis may have done it all the same, and its answer only be late. Then that stands until the request is over, and is settled like
   * any other; if not, what was spent is charged to the budgets then. Either way once.
   */
  #reserveHere(id: string, limits: readonly AppliedLimit[], failure: Error): Reservation | Refusal {
    const asked: Recorded = { granted: true, id, limits, uses: [], madeAt: '', month: '' }
    try {
      const answer = this.#insurance.reserve(limits, failure)
      if (answer.granted) {
        const now = Date.now()
        this.#asked.set(answer, { ...asked, id: `late:${id}`, madeAt: now, month: monthOf(now) })
      } else void this.#settle(asked, undone)
      return answer
    } catch (error) {
      // Nobody is served: when that can be told, it is undone.
      void this.#settle(asked, undone)
      throw error
    }
  }

  async #settle(reservation: Recorded, actual: Actual): Promise<void> {
    if (this.#unsettled >= mostUnsettled) return
    this.#unsettled += 1
    const until = performance.now() + patienceMs
    try {
      for (let pause = 250; ; pause = Math.min(2 * pause, 5000)) {
        if (await this.#isSettled(reservation, actual)) return
        if (this.#isClosed || performance.now() > until) return
        await sleep(pause, undefined, { ref: false })
      }
    } finally {
      this.#unsettled -= 1
    }
  }

  async #isSettled(reservation: Recorded, actual: Actual): Promise<boolean> {
    const { id, limits, madeAt, month } = reservation
    const changes = differences(reservation, actual)
    const { keyId, tokens = 0, usd = 0 } = actual
    const keys = [openKey, keyId === undefined ? openKey : usageKey(keyId)]
    const args: (string | number)[] = [id, this.#stepMs, madeAt, month, usageMs, ...monthsAround(Date.now())]
    args.push(keyId === undefined ? 0 : 1, Math.ceil(tokens), Math.round(usd * nano), settleableMs)
    for (const [n, limit] of limits.entries()) {
      // A request that was served, or tried, is one, whatever came of it.
      if (limit.limit === 'requests' && actual !== undone) continue
      keys.push(...keysOf(limit))
      const estimate = isEstimate(limit) ? 1 : 0
      const change = limit.limit === 'requests' ? -limit.amount : (changes[n] ?? 0)
      args.push(kinds[limit.limit], limit.amount, change, errorOf(limit, actual) === undefined ? estimate : 2)
    }
    try {
      await this.#timed('settle', (redis) => redis.signalboxSettle(keys.length, ...keys, ...args))
      return true
    } catch {
      return false
    }
  }

  async #hold(slots: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const keys = [openKey]
    const places = new Map([[openKey, 1]])
    const args: (string | number)[] = [this.#leaseMs, settleableMs]
    for (const [id, own] of slots) {
      args.push(1, id)
      for (const key of own) {
        const place = places.get(key) ?? keys.push(key)
        places.set(key, place)
        args.push(place, id)
      }
    }
    // In an outage nobody takes them, either; the next time tells.
    await this.#timed('hold', (redis) => redis.signalboxHold(keys.length, ...keys, ...args)).catch(() => {})
  }

  async #timed<Result>(operation: string, commands: Commands<Result>): Promise<Result> {
    const startedAt = performance.now()
    const end = (outcome: StoreReport['outcome']): void =>
      this.#tell?.({ part: 'limits', operation, outcome, durationMs: performance.now() - startedAt })
    try {
      const result = await this.#connection.run(commands)
      end('ok')
      return result
    } catch (error) {
      end('failed')
      throw error
    }
  }
}

/** As {@link RedisConnection.run} takes them. */
type Commands<Result> = Parameters<typeof RedisConnection.prototype.run<Result>>[0]

const kinds = { requests: 'rate', tokens: 'rate', concurrency: 'slots', usd_day: 'day', usd_month: 'month' } as const

/** As if it had never been. */
const undone: Actual = { tokens: 0, usd: 0, keyId: undefined }
