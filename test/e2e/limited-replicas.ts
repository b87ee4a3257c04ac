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

/** Four processes on one Redis, with limits of their one key, their model `fast`, and the gateway. */
export async function startLimited(
  t: Test,
  upstream: Upstream,
  limits: { key?: Json; model?: Json; gateway?: Json },
  leaseTime = '15s',
): Promise<{ redis: RedisServer; replicas: Replica[] }> {
  const redis = await startRedis(t)
  const config = {
    auth: { keys: [{ key, user: 'ann', ...(limits.key && { limits: limits.key }) }] },
    models: { fast: { targets: [{ model: 'openai/small' }], ...(limits.model && { limits: limits.model }) } },
    agents: {},
    catalog: { 'openai/small': { prices } },
    // On a busy machine the Redis of this test may be slow, and is not to be taken for one that is away.
    store: { kind: 'redis', url: redis.url, leaseTime, commandTimeout: '20s' },
    ...(limits.gateway && { limits: limits.gateway }),
  }
  const pairs = [
    await startReplicas(t, upstream, config, { lifeMs: 90_000 }),
    await startReplicas(t, upstream, config, { lifeMs: 90_000 }),
  ]
  return { redis, replicas: pairs.flat() }
}

/** How it was answered. */
export async function ask(
  { url }: Replica,
  body: Json = {},
  signal?: AbortSignal,
): Promise<{ status: number; code: string }> {
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
  return { status: answer.status, code: answer.status === 200 ? '' : JSON.parse(text).error.code }
}
