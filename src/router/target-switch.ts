import { GatewayError } from '../server/errors.ts'
import { nameOf, targetOf } from '../target.ts'
import type { CallOptions, LLMClient, Target } from '../types.ts'

/** An operator does not say when a target will be back: as long as a client is ever told to wait, in milliseconds. */
const untilAskedAgainMs = 60_000

/** The targets of the configuration, and which of them an operator has taken out. */
export class TargetSwitch {
  #targets: ReadonlyMap<string, Target> = new Map()
  #drained: ReadonlySet<string> = new Set()

  /** `provider/model` of every target; of a wildcard, `provider/*`. */
  get targets(): readonly Target[] {
    return [...this.#targets.values()]
  }

  /** The configuration has these now, and no others. */
  know(targets: Iterable<Target>): void {
    this.#targets = new Map([...targets].map((target) => [nameOf(target), target]))
  }

  /** These are out now, and no others: `provider/model`, or `provider/*` for all of a provider's. */
  set(drained: Iterable<string>): void {
    this.#drained = new Set(drained)
  }

  isDrained({ provider, model }: Target): boolean {
    return this.#drained.has(`${provider}/${model}`) || this.#drained.has(`${provider}/*`)
  }

  /** Whether there is something to take out by this name: a target, one of a wildcard's, or a whole provider. */
  has({ provider, model }: Target): boolean {
    if (this.#targets.has(`${provider}/${model}`) || this.#targets.has(`${provider}/*`)) return true
    return model === '*' && this.targets.some((target) => target.provider === provider)
  }

  /**
   * A client that takes no requests while its target is out: 503 `target_drained`. What it has begun it ends, the later steps of a
   * run included. `target`: as the configuration has it.
   */
  guarded(client: LLMClient, target: Target): LLMClient {
    const runs = new WeakSet<object>()
    const refusal = (request: { model: string }, { run }: CallOptions = {}): GatewayError | undefined => {
      if (run && runs.has(run)) return undefined
      const { provider, model } = targetOf(target, request)
      if (!this.isDrained({ provider, model })) {
        if (run) runs.add(run)
        return undefined
      }
      const message = `the target "${provider}/${model}" has been taken out of service`
      return new GatewayError('target_drained', message, { retryAfter: untilAskedAgainMs / 1000 })
    }
    const { embed, responses, close } = client
    return {
      provider: client.provider,
      model: client.model,
      agent: client.agent,
      unavailableMs: () => (this.isDrained(target) ? untilAskedAgainMs : client.unavailableMs?.()),
      async complete(request, call) {
        const refused = refusal(request, call)
        if (refused) throw refused
        return client.complete(request, call)
      },
      stream(request, call) {
        const refused = refusal(request, call)
        return refused ? failing(refused) : client.stream(request, call)
      },
      ...(embed && {
        async embed(request, call) {
          const refused = refusal(request, call)
          if (refused) throw refused
          return embed.call(client, request, call)
        },
      }),
      ...(responses && {
        responses: {
          async create(request, call) {
            const refused = refusal(request, call)
            if (refused) throw refused
            return responses.create(request, call)
          },
          stream(request, call) {
            const refused = refusal(request, call)
            return refused ? failing(refused) : responses.stream(request, call)
          },
        },
      }),
      ...(close && { close: () => close.call(client) }),
    }
  }
}

// biome-ignore lint/correctness/useYield: it fails before its first piece
async function* failing(error: GatewayError): AsyncGenerator<never> {
  throw error
}
