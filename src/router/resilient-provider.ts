import { milliseconds } from '../config/duration.ts'
import type { ProviderConfig } from '../config/provider-schema.ts'
import type { Config } from '../config/schema.ts'
import type { BreakerChange, LLMClient } from '../types.ts'
import { Breakers } from './breakers.ts'
import { breaking } from './breaking.ts'
import { pinned } from './pinned.ts'
import type { RetryOptions } from './retry.ts'
import { RetryBudget } from './retry-budget.ts'
import { retrying } from './retrying.ts'
import { timed } from './timed.ts'

/** What a model says of the calls of its targets. */
export type ModelRules = Pick<NonNullable<Config['models']>[string], 'timeouts' | 'retries'>

/** One provider, and what all its models share: connections, breakers, the budget of retries. */
export class ResilientProvider {
  readonly #client: LLMClient
  readonly #retries: ProviderConfig['retries']
  readonly #budget: RetryBudget
  readonly #breakers: Breakers | undefined
  #holders = 1

  /** @param client For all of its models. */
  constructor(
    client: LLMClient,
    { retries, breaker: { enabled = true, window, openFor, ...breaker } = {} }: ProviderConfig,
    onBreaker?: (change: BreakerChange) => void,
  ) {
    this.#client = client
    this.#retries = retries
    this.#budget = new RetryBudget(retries?.budget)
    const options = { ...breaker, ...inMilliseconds({ window, openFor }) }
    this.#breakers = enabled ? new Breakers(client.provider, options, onBreaker) : undefined
  }

  /** A client for one of its models, or for all (`*`): retries, the breaker, and innermost the provider. */
  target(model: string, { timeouts, retries }: ModelRules = {}): LLMClient {
    const client = model === '*' ? this.#client : pinned(this.#client, model)
    const breaker = this.#breakers ? breaking(client, this.#breakers) : client
    const options = { ...retryOptions(this.#retries), ...retryOptions(retries), budget: this.#budget }
    const asked = options.max === 0 ? breaker : retrying(breaker, options)
    return timeouts ? timed(asked, inMilliseconds(timeouts)) : asked
  }

  /** For another configuration, in which it is the same: each closes it once. */
  shared(): this {
    this.#holders += 1
    return this
  }

  /** Unless another configuration has it, too: what its breakers do from now on is of no interest. */
  retire(): void {
    if (this.#holders === 1) this.#breakers?.retire()
  }

  async close(): Promise<void> {
    this.#holders -= 1
    if (this.#holders === 0) await this.#client.close?.()
  }
}

function retryOptions({ max, baseDelay, maxDelay, deadline }: NonNullable<ModelRules['retries']> = {}): RetryOptions {
  return { ...(max === undefined ? {} : { max }), ...inMilliseconds({ baseDelay, maxDelay, deadline }) }
}

/** Of those that are given. */
export const inMilliseconds = <Name extends string>(
  durations: Partial<Record<Name, string | undefined>>,
): Partial<Record<Name, number>> =>
  Object.fromEntries(
    Object.entries<string | undefined>(durations).flatMap(([name, duration]) =>
      duration === undefined ? [] : [[name, milliseconds(duration)]],
    ),
  ) as Partial<Record<Name, number>>
