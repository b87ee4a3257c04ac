import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { startRedis } from '../redis.ts'
import type { RedisServer } from '../redis-server.ts'
import type { Json, Upstream } from '../upstream.ts'
import { type Replica, startReplicas } from './start-replicas.ts'

const key = 'sk-limited-key'

/** What each request may use, and uses: no more than is expected. */
const maxTokens = 52
export const usage = { prompt_tokens: 8, completion_tokens: 50, total_tokens: 58 }
/** USD per million tokens. */
export const prices = { input: 1000, output: 1000 }

/** Four processes on one Redis, with limits of their one key, their model `fast`, the gateway, and of other models. */
export async function startLimited(
  t: Test,
  upstream: Upstream,
  limits: { key?: Json; model?: Json; gateway?: Json; models?: Record<string, Json> },
  leaseTime = '15s',
): Promise<{ redis: RedisServer; replicas: Replica[] }> {
  const redis = await startRedis(t)
  const targets = [{ model: 'openai/small' }]
  const config = {
    auth: { keys: [{ key, user: 'ann', ...(limits.key && { limits: limits.key }) }] },
    models: {
      fast: { targets, ...(limits.model && { limits: limits.model }) },
      ...Object.fromEntries(Object.entries(limits.models ?? {}).map(([name, own]) => [name, { targets, limits: own }])),
    },
    agents: {},
    catalog: { 'openai/small': { prices } },
    // On a busy machine the Redis of this test may be slow, and is not to be taken for one that is away.
    store: { kind: 'redis', url: redis.url, leaseTime, commandTimeout: '20s' },
    ...(limits.gateway && { limits: limits.gateway }),
  }
  const start = (): Promise<Replica[]> => startReplicas(t, upstream, config, { lifeMs: 180_000 })
  const pairs = [await start(), await start()]
  return { redis, replicas: pairs.flat() }
}

export interface Answered {
  status: number
  /** Of an error. */
  code: string
  /** Seconds. */
  retryAfter: number
}

/** How it was answered. */
export async function ask({ url }: Replica, body: Json = {}, signal?: AbortSignal): Promise<Answered> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({
      model: 'fast',
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: maxTokens,
      ...body,
    }),
    ...(signal && { signal }),
  })
  const text = await answer.text()
  const code = answer.status === 200 ? '' : JSON.parse(text).error.code
  return { status: answer.status, code, retryAfter: Number(answer.headers.get('retry-after') ?? 0) }
}

/** At each process. */
export const callers = 100

/**
 * All callers of all processes, each so many times; half of them are streamed to. Who is told that it is a matter of a moment
 * comes again after that, as the clients of OpenAI do.
 */
export async function storm(
  replicas: readonly Replica[],
  times: number,
  body: Json = {},
): Promise<{ ok: number; codes: Set<string> }> {
  const answers = await Promise.all(
    replicas.flatMap((replica) =>
      Array.from({ length: callers }, async (_, n) => {
        const own: Answered[] = []
        for (let turn = 0; turn < times; ) {
          const answer = await ask(replica, { stream: n % 2 === 0, ...body })
          own.push(answer)
          if (answer.status === 429 && answer.retryAfter === 1) await sleep(1000)
          else turn++
        }
        return own
      }),
    ),
  )
  const all = answers.flat()
  const bad = all.find(({ status }) => status !== 200 && status !== 429)
  if (bad) throw new Error(`answered ${bad.status} ${bad.code}`)
  return {
    ok: all.filter(({ status }) => status === 200).length,
    codes: new Set(all.filter(({ status, retryAfter }) => status === 429 && retryAfter > 1).map(({ code }) => code)),
  }
}
