import dns from 'node:dns'
import type { Test } from 'tap'
import { defineGuardrail, defineTool } from '../../src/index.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { complaint, messagesOf } from '../upstream/transcript.ts'
import { type Behaviour, completion, type Json, startUpstream, type Upstream } from '../upstream.ts'

/** What each step of a run is said to have used. */
export const stepUsage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 }

export interface Call {
  id: string
  name: string
  arguments: Json
}

/** A step in which the model calls tools, perhaps with some words. */
export const calls = (toolCalls: Call[], text?: string): Behaviour =>
  completion({
    ...(text === undefined ? {} : { text }),
    toolCalls: toolCalls.map((call) => ({ ...call, arguments: JSON.stringify(call.arguments) })),
    usage: stepUsage,
  })

/** The step in which it answers. */
export const says = (text: string): Behaviour => completion({ text, usage: stepUsage })

/** A call of the agent's own tool. */
export const clockCall: Call = { id: 'call_clock', name: 'clock', arguments: { zone: 'Lisbon' } }

/** A call of the tool that the callers of the tests bring. */
export const weatherCall: Call = { id: 'call_weather', name: 'weather', arguments: { city: 'Lisbon' } }

export const system = { role: 'system', content: 'Be brief.' }

/** As the model is told of calls and of what came of them. */
export const called = (...made: Call[]): Json => ({
  role: 'assistant',
  tool_calls: made.map(({ id, name, arguments: args }) => ({
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(args) },
  })),
})
export const result = ({ id }: Call, content: string): Json => ({ role: 'tool', tool_call_id: id, content })
export const noon = result(clockCall, 'noon in Lisbon')

export interface Helper {
  upstream: Upstream
  gateway: Gateway
  /** `http://127.0.0.1:PORT/v1` */
  baseURL: string
  /** What the upstream was sent last. */
  sent(): Json[]
  /** Names of the tools that the model was last offered. */
  tools(): string[]
}

/**
 * The service with an agent `helper`, whose tool `clock` runs in the gateway, and another that is `discreet`, in front of a local upstream. Whatever a test
 * does, every transcript that reaches the upstream must be one that OpenAI takes, and nothing beyond this machine is called.
 */
export async function startHelper(t: Test, { config, ...options }: GatewayOptions = {}): Promise<Helper> {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const clock = defineTool({
    name: 'clock',
    description: 'The time in a zone',
    parameters: { type: 'object', properties: { zone: { type: 'string' } }, required: ['zone'] },
    execute: ({ zone }) => `noon in ${zone}`,
  })
  const discretion = defineGuardrail({
    name: 'discretion',
    output: (text) => (text.includes('secret') ? { reason: 'That is a secret.' } : null),
  })
  const helper = { model: 'openai/gpt-4o-mini', system: system.content, tools: ['clock'] }
  const discreet = { ...helper, guardrails: ['discretion'] }
  const gateway = await startGateway(t, {
    upstream,
    extension: { tools: [clock], guardrails: [discretion] },
    config: { ...config, agents: { helper, discreet, ...config?.agents } },
    ...options,
  })
  const lookups = t.capture(dns, 'lookup', (host: string) => {
    throw new Error(`the network is out of bounds: ${host}`)
  })
  t.beforeEach(() => upstream.reset())
  t.afterEach(() => {
    const problem = upstream.requests.map((request) => complaint(messagesOf(request))).find(Boolean)
    if (problem) throw new Error(`not a valid transcript: ${problem}`)
    const [lookup] = lookups()
    if (lookup) throw new Error(`somebody looked up ${lookup.args[0]}`)
  })
  return {
    upstream,
    gateway,
    baseURL: `${gateway.url}/v1`,
    sent: () => messagesOf(upstream.last()),
    tools: () =>
      ((upstream.last().body as { tools?: { function: { name: string } }[] }).tools ?? []).map(
        (tool) => tool.function.name,
      ),
  }
}
