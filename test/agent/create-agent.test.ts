import t from 'tap'
import { AgentLoop, createAgent, createLLM } from '../../src/index.ts'
import { glance, messagesOf } from '../core.ts'
import { startUpstream } from '../upstream.ts'
import { ask, saidBy } from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

t.test('an agent of a model by its name, as createLLM takes it', async (t) => {
  const agent = createAgent({ model: 'lab/m', baseURL: upstream.baseURL, apiKey: 'sk-agent', system: 'Be brief.' })
  t.teardown(() => agent.close())
  t.ok(agent instanceof AgentLoop)
  t.match(agent, { provider: 'lab', model: 'm' })
  t.match(await saidBy(agent, ask('hi')), { content: 'You said: hi' })
  t.match(upstream.last().headers, { authorization: 'Bearer sk-agent' })
  t.strictSame(glance(messagesOf(upstream.last())), ['system Be brief.', 'user hi'])
})

t.test('an agent of a client that is there already', async (t) => {
  const client = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
  t.teardown(() => client.close?.())
  const agent = createAgent({ client, tools: [{ name: 'clock', execute: () => 'noon' }] })
  t.match(agent, { provider: 'lab', model: 'm', agent: { toolNames: ['clock'] } })
  await agent.complete(ask('hi'))
  t.match(upstream.last().body, { model: 'm', tools: [{ function: { name: 'clock' } }] })
})

t.test('a client that was not given is none', async (t) => {
  const options = { client: undefined, model: 'lab/m', baseURL: upstream.baseURL }
  const agent = createAgent(options as unknown as Parameters<typeof createAgent>[0])
  t.teardown(() => agent.close())
  t.match(agent, { provider: 'lab', model: 'm' })
})

t.test('what is missing is named', async (t) => {
  t.throws(() => createAgent({ model: 'gpt' }), /must be written as provider\/name/)
  t.throws(() => createAgent({ model: 'nobody/x' }), /provider "nobody" is not known/)
  t.throws(() => createAgent({ model: 'lab/m', baseURL: upstream.baseURL, maxSteps: -1 }), /maxSteps/)
})
