import { setTimeout as sleep } from 'node:timers/promises'
import { defineGuardrail, defineTool } from '../../src/index.ts'
import { CLIENT_KEY, type Gateway, startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import type { Owner } from '../redis-server.ts'
import * as up from '../upstream.ts'

/** A gateway on Redis with three providers, and everything that clients and providers do to one. */
export interface Load {
  gateway: Gateway
  /** Requests of every kind that succeed. */
  usual(): Promise<void>
  /** Requests that providers, clients or guardrails end otherwise. */
  trouble(): Promise<void>
}

const other = { user: 'search', key: 'sk-search-to-gateway' }
const operator = { name: 'ops', key: 'sk-operator-of-gateway' }
/** One request at a time. */
const tight = { user: 'search', key: 'sk-tight-to-gateway', limits: { concurrentRequests: 1 } }
/** A word of the prompt decides what the provider does. */
const behaviours: Record<string, up.Behaviour> = {
  FAIL: up.failWith(500),
  LIMIT: up.failWith(429),
  AWAY: async (request, exchange) => {
    const { model } = request.body as { model: string }
    return (model === 'away' ? up.failWith(503) : up.provider)(request, exchange)
  },
  HANG: up.hang(),
  BREAK: up.dropAfter(3),
  SLOW: up.completion({ tokens: Array<string>(40).fill(' word'), delayMs: 25 }),
  UNCOUNTED: up.completion({ usage: false }),
}

const behave: up.Behaviour = async (request, exchange) => {
  if (!request.path.endsWith('/chat/completions')) return up.provider(request, exchange)
  const { messages } = request.body as { messages: { role: string; content: string }[] }
  const last = messages.at(-1)
  const named = Object.entries(behaviours).find(([word]) => JSON.stringify(last?.content ?? '').includes(word))
  if (named) return named[1](request, exchange)
  if (last?.content === 'CALL')
    return up.completion({ toolCalls: [{ name: 'clock', arguments: '{}' }] })(request, exchange)
  const length = 5 + Math.floor(Math.random() * 40)
  const tokens = Array.from({ length }, (_, n) => ` word${n}`)
  const firstDelayMs = 10 + Math.random() ** 3 * 300
  return up.completion({ tokens, firstDelayMs, delayMs: 1 + Math.random() * 8 })(request, exchange)
}

export async function startLoad(t: Owner): Promise<Load> {
  const [upstream, redis] = await Promise.all([up.startUpstream(), startRedis(t)])
  t.teardown(() => upstream.close())
  upstream.behave(behave)
  const { baseURL } = upstream
  const kind = 'openai-compatible'
  const gateway = await startGateway(t, {
    extension: {
      tools: [defineTool({ name: 'clock', execute: () => sleep(5, 'noon') })],
      guardrails: [
        defineGuardrail({
          name: 'polite',
          input: (said) => (JSON.stringify(said).includes('RUDE') ? { reason: 'No.' } : null),
        }),
      ],
    },
    config: {
      auth: { keys: [{ key: CLIENT_KEY, user: 'checkout' }, other, tight] },
      providers: {
        openai: { kind, baseURL, apiKey: 'k' },
        lab: { kind, baseURL, breaker: { enabled: false } },
        hasty: {
          kind,
          baseURL,
          timeouts: { firstToken: '100ms', total: '2s' },
          // Not one retry is made.
          retries: { budget: { ratio: 0, perSecond: 0 } },
          breaker: { enabled: false },
        },
        shaky: {
          kind,
          baseURL,
          breaker: { minimumRequests: 2, window: '5s', openFor: '500ms' },
        },
      },
      models: {
        fast: { targets: [{ model: 'openai/small' }], limits: { requestsPerMinute: 1_000_000 } },
        large: { targets: [{ model: 'openai/large' }, { model: 'lab/large' }] },
        hasty: { targets: [{ model: 'hasty/small' }] },
        steady: { targets: [{ model: 'lab/away' }, { model: 'openai/small', priority: 1 }] },
        shaky: { targets: [{ model: 'shaky/small' }] },
        'lab/*': { targets: [{ model: 'lab/*' }] },
        faq: { targets: [{ model: 'openai/small' }], cache: { ttl: '2s' } },
      },
      agents: {
        helpdesk: { model: 'fast', tools: ['clock'], guardrails: ['polite'], allowExternalTools: false },
      },
      store: { kind: 'redis', url: redis.url },
      metrics: { users: { enabled: true } },
      admin: { enabled: true, keys: [operator] },
      catalog: {
        'openai/small': { prices: { input: 0.15, output: 0.6 } },
        'openai/large': { prices: { input: 2.5, output: 10 } },
        'lab/large': { prices: { input: 0.1, output: 0.1 } },
      },
    },
  })
  gateway.hooks.on('onWarning', () => {
    throw new Error('a listener of the host')
  })

  /** Sends, and reads to the end what comes; a client that leaves is no failure of the load. */
  const send = async (path: string, body: up.Json, { leaveMs, ...init }: RequestInit & { leaveMs?: number } = {}) => {
    const signal = leaveMs === undefined ? null : AbortSignal.timeout(leaveMs)
    try {
      return await (await gateway.post(path, body, { ...init, signal })).text()
    } catch (error) {
      if (!signal?.aborted) throw error
      return ''
    }
  }
  const say = (content: string, body: up.Json = {}, init?: RequestInit & { leaveMs?: number }): Promise<string> =>
    send('/v1/chat/completions', { model: 'fast', messages: [{ role: 'user', content }], ...body }, init)
  const streamed = { stream: true }
  const external = { type: 'function', function: { name: 'mine', parameters: { type: 'object' } } }
  const as = (key: string): RequestInit => ({ headers: { authorization: `Bearer ${key}` } })

  /** A response, and one that goes on from it. */
  const thread = async (): Promise<void> => {
    const { id } = JSON.parse(await send('/v1/responses', { model: 'fast', input: 'hello' })) as { id: string }
    await send('/v1/responses', { model: 'fast', input: 'and then?', previous_response_id: id, stream: true })
  }
  let conversation = 0
  const turn = (id: number): Promise<string> => say('hello', streamed, { headers: { 'x-conversation-id': `c${id}` } })
  /** Two turns at the same time, of which one waits for the other, and one more after them. */
  const turns = async (id = conversation++): Promise<void> => {
    await Promise.all([turn(id), turn(id)])
    await turn(id)
  }

  return {
    gateway,
    async usual() {
      await Promise.all([
        say('hello there, what is new?'),
        send('/v1/responses', { model: 'fast', input: 'in your own time', background: true }),
        say('hello', streamed),
        say('hello', { model: 'large', ...streamed }, as(other.key)),
        say('hello', { model: 'lab/mini', ...streamed }),
        say('SLOW', { model: 'large', ...streamed }),
        say('UNCOUNTED'),
        say('CALL', { model: 'helpdesk' }),
        say('keep this', { store: true }),
        say('what is it?', { model: 'faq' }),
        say('what is it?', { model: 'faq' }),
        send('/v1/embeddings', { model: 'fast', input: 'a b c' }),
        thread(),
        turns(),
        say('hello', { model: 'hasty' }),
        fetch(`${gateway.url}/health`),
        fetch(`${gateway.url}/admin/v1/keys`, as(operator.key)),
        gateway.reload({ server: { bodyLimit: 100_000 + conversation } }),
      ])
    },
    async trouble() {
      await Promise.all([
        say('FAIL'),
        say('FAIL', { model: 'shaky' }),
        say('FAIL', { model: 'shaky', ...streamed }),
        say('FAIL', { model: 'shaky' }).then(() => say('FAIL', { model: 'shaky' })),
        say('LIMIT', { model: 'large' }),
        say('HANG', { model: 'hasty' }),
        say('HANG', { model: 'hasty', ...streamed }),
        say('AWAY', { model: 'steady' }),
        say('BREAK', streamed),
        say('BREAK', { model: 'lab/mini', ...streamed }),
        say('HANG', {}, { leaveMs: 60 }),
        say('SLOW', streamed, { leaveMs: 300 }),
        say('hello', { model: 'nobody' }),
        say('hello', {}, as('sk-wrong')),
        fetch(`${gateway.url}/admin/v1/keys`, as(other.key)),
        say('hello', {}, as(tight.key)),
        say('hello', {}, as(tight.key)),
        say('RUDE', { model: 'helpdesk' }),
        say('hello', { model: 'helpdesk', tools: [external] }),
        gateway.reload({ server: { bodyLimit: 0 } }),
      ])
    },
  }
}
