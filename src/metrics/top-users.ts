import { LRUCache } from 'lru-cache'
import { Counter, type Metric } from 'prom-client'
import { other } from './label-values.ts'

/** Of users without a series of their own, how many are watched for becoming one of the top. */
const watched = 1000
/** How often what was used counts for half, in milliseconds. */
const halfLifeMs = 3_600_000

/**
 * Tokens and cost by user: a series for each of those who use most, and one for all others.
 *
 * A counter never goes down: a user who is overtaken loses the series, and what that had counted goes nowhere else; who
 * takes the place begins at 0. What was used without a series of its own stays with the others.
 */
export class TopUsers {
  readonly #top: number
  /** Tokens used lately, by label. */
  readonly #listed = new Map<string, number>()
  readonly #others = new LRUCache<string, number>({ max: watched })
  #halvedAt = performance.now()
  readonly #tokens = new Counter({
    name: 'signalbox_user_tokens_total',
    help: 'Tokens by user, as far as the user is one of those who use most.',
    labelNames: ['user', 'gen_ai_token_type'],
    registers: [],
  })
  readonly #cost = new Counter({
    name: 'signalbox_user_cost_usd_total',
    help: 'Known costs by user, in USD, as far as the user is one of those who use most.',
    labelNames: ['user'],
    registers: [],
  })

  constructor(top: number) {
    this.#top = top
  }

  get metrics(): Metric[] {
    return [this.#tokens, this.#cost]
  }

  /** `userId`: null for nobody. */
  add(userId: string | null, input: number, output: number, costUsd: number): void {
    const user = this.#seriesOf(labelOf(userId), input + output)
    this.#tokens.inc({ user, gen_ai_token_type: 'input' }, input)
    this.#tokens.inc({ user, gen_ai_token_type: 'output' }, output)
    this.#cost.inc({ user }, costUsd)
  }

  #seriesOf(user: string, used: number): string {
    this.#forget()
    const before = this.#listed.get(user)
    if (before !== undefined || this.#listed.size < this.#top) {
      this.#listed.set(user, (before ?? 0) + used)
      return user
    }
    const lately = (this.#others.get(user) ?? 0) + used
    const [least, least_used] = this.#least()
    // Twice as much: two who use the same would take turns.
    if (lately <= 2 * least_used) {
      this.#others.set(user, lately)
      return other
    }
    this.#listed.delete(least)
    this.#others.set(least, least_used)
    this.#others.delete(user)
    this.#listed.set(user, lately)
    for (const type of ['input', 'output']) this.#tokens.remove({ user: least, gen_ai_token_type: type })
    this.#cost.remove({ user: least })
    return user
  }

  #least(): [user: string, used: number] {
    let least: [string, number] = ['', Number.POSITIVE_INFINITY]
    for (const entry of this.#listed) if (entry[1] < least[1]) least = entry
    return least
  }

  /** Who used much long ago makes room. */
  #forget(): void {
    if (performance.now() - this.#halvedAt < halfLifeMs) return
    this.#halvedAt = performance.now()
    for (const [user, used] of this.#listed) this.#listed.set(user, used / 2)
    this.#others.clear()
  }
}

/** A name with an underscore at its front is the gateway's own: a user's gets one more. */
function labelOf(userId: string | null): string {
  if (userId === null) return '_anonymous'
  return userId.startsWith('_') ? `_${userId}` : userId
}
