import { appliedLimits, type Expected, hasLimits, type Limited, needsEstimate } from '../limits/applied-limits.ts'
import type { Limiter, Reservation } from '../limits/limiter.ts'
import type { ServerEntry } from '../router/model-router.ts'
import { targetOf } from '../target.ts'
import type { LLMClient, Usage } from '../types.ts'
import type { ServerContext } from './context.ts'
import type { Exchange } from './exchange.ts'
import type { ExpectedUsage } from './expected-usage.ts'
import { limitError } from './limit-refusal.ts'
import { rateHeaders } from './rate-headers.ts'

/** Who is asked, and for how much. */
export interface Asked {
  client: LLMClient
  /** As the client knows it. */
  model: string
  expected(): ExpectedUsage
}

/**
 * Takes what a request needs from the limits that it falls under, before anything else is done for it, and sees to it that they
 * are settled when it is over. Undefined where there are none: nothing is to be waited for.
 *
 * @throws GatewayError 429 for a limit that it would pass, `store_unavailable` where nobody can tell
 */
export function reserve(exchange: Exchange, context: ServerContext, asked: Asked): Promise<void> | undefined {
  const { limiter } = context
  if (!limiter) return undefined
  const entry = exchange.model === undefined ? undefined : context.router.get(exchange.model)
  const limited = limitsOf(exchange, entry, limiter)
  if (limited.length === 0 && !(limiter.countsUsage && exchange.principal)) return undefined
  return taken(exchange, context, limiter, limited, expectedOf(exchange, entry, limiter, limited, asked))
}

function limitsOf({ principal }: Exchange, entry: ServerEntry | undefined, { gateway }: Limiter): Limited[] {
  const limited: Limited[] = []
  if (principal && hasLimits(principal.limits)) {
    limited.push({ scope: 'key', id: principal.keyId ?? principal.userId, limits: principal.limits })
  }
  if (entry && hasLimits(entry.limits)) limited.push({ scope: 'model', id: entry.model, limits: entry.limits })
  // An agent is asked for, and asks a model of its own.
  const asked = entry?.asks
  if (asked && hasLimits(asked.limits)) limited.push({ scope: 'model', id: asked.model, limits: asked.limits })
  if (hasLimits(gateway)) limited.push({ scope: 'gateway', id: '', limits: gateway })
  return limited
}

async function taken(
  exchange: Exchange,
  { hooks }: ServerContext,
  limiter: Limiter,
  limited: readonly Limited[],
  expected: Expected,
): Promise<void> {
  const answer = await limiter.reserve(appliedLimits(limited, expected))
  const { requestId, userId, model = '_other' } = exchange
  if (answer.uses.length > 0) {
    for (const [name, value] of Object.entries(rateHeaders(answer.uses))) exchange.addHeader(name, value)
    if (hooks.listens('onLimits')) hooks.emit('onLimits', { requestId, model, uses: answer.uses })
  }
  if (answer.granted) {
    exchange.onceOver((billed) => void settle(exchange, limiter, answer, billed))
    return
  }
  const use = answer.uses[answer.by]
  if (use) hooks.emit('onRateLimited', { requestId, userId, model, limit: use.limit, scope: use.scope })
  throw limitError(answer, model)
}

/** Where no model has answered there is nothing to pay; what nobody knows stays as it was expected. */
function settle(
  { principal, usage, isCopy }: Exchange,
  limiter: Limiter,
  reservation: Reservation,
  costUsd: number | 'unknown' | undefined,
): Promise<void> {
  const isFree = costUsd === undefined || isCopy
  return limiter.settle(reservation, {
    tokens: isFree ? 0 : tokensOf(usage),
    usd: isFree ? 0 : typeof costUsd === 'number' ? costUsd : undefined,
    keyId: principal ? (principal.keyId ?? principal.userId) : undefined,
  })
}

/** Providers are taken at their word, which may be none. */
function tokensOf(usage: Usage | undefined): number | undefined {
  const counts = [usage?.prompt_tokens, usage?.completion_tokens, usage?.total_tokens].map((count) =>
    Number.isSafeInteger(count) && Number(count) >= 0 ? Number(count) : undefined,
  )
  const [prompt, completion, total = 0] = counts
  if (prompt === undefined || completion === undefined) return undefined
  // Where reasoning is counted beside the completion only the total has it.
  return Math.max(prompt + completion, total)
}

function expectedOf(
  exchange: Exchange,
  entry: ServerEntry | undefined,
  { defaultOutputTokens }: Limiter,
  limited: readonly Limited[],
  { client, model, expected }: Asked,
): Expected {
  if (!limited.some(needsEstimate)) return { tokens: 0, usd: undefined, least: { tokens: 0, usd: undefined } }
  const { input, output } = expected()
  const hasBudget = limited.some(({ limits }) => (limits?.usdPerDay ?? limits?.usdPerMonth) !== undefined)
  const ofAnswer = (completion_tokens: number): Expected['least'] => {
    const usage = { prompt_tokens: input, completion_tokens, total_tokens: 0 }
    const usd = hasBudget ? dearest(exchange, entry?.targets ?? [targetOf(client, { model })], model, usage) : undefined
    return { tokens: input + completion_tokens, usd }
  }
  const whole = ofAnswer(output ?? defaultOutputTokens)
  return { ...whole, least: output === undefined ? ofAnswer(0) : whole }
}

/** Of the targets that may be asked. Those whose price is not known are taken to cost what the others do. */
function dearest(
  exchange: Exchange,
  targets: NonNullable<ServerEntry['targets']>,
  model: string,
  usage: Usage,
): number | undefined {
  const costs = targets.flatMap(
    (target) => exchange.bill.costOf(target.model === '*' ? { ...target, model } : target, usage) ?? [],
  )
  if (costs.length > 0) return Math.max(...costs)
  exchange.warn('the price of this model is not known: it is charged to no budget')
  return undefined
}
