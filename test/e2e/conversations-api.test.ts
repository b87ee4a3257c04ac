/** The Conversations API through the service, with OpenAI's own clients. */
import {
  Agent,
  OpenAIConversationsSession,
  run,
  setDefaultOpenAIClient,
  setTracingDisabled,
  tool,
} from '@openai/agents'
import type OpenAI from 'openai'
import { ConflictError, NotFoundError } from 'openai'
import t from 'tap'
import { z } from 'zod'
import { glance, messagesOf } from '../core.ts'
import { startGateway } from '../gateway.ts'
import * as up from '../upstream.ts'

const upstream = await up.startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream, config: { conversations: { lockTimeout: '50ms' } } })
const client = gateway.client()
const model = 'openai/gpt-4o-mini'
const sent = (): string[] => glance(messagesOf(upstream.last()))

async function all(id: string): Promise<OpenAI.Conversations.ConversationItem[]> {
  const items: OpenAI.Conversations.ConversationItem[] = []
  for await (const item of client.conversations.items.list(id, { order: 'asc', limit: 2 })) items.push(item)
  return items
}

t.test('conversations', async (t) => {
  const empty = await client.conversations.create()
  t.match(empty, { object: 'conversation', metadata: {} })
  const { id } = await client.conversations.create({
    metadata: { topic: 'demo' },
    items: [{ type: 'message', role: 'user', content: 'Hello!' }],
  })
  t.match(await client.conversations.retrieve(id), { id, metadata: { topic: 'demo' } })
  t.match(await client.conversations.update(id, { metadata: { topic: 'other' } }), { metadata: { topic: 'other' } })
  t.strictSame(await client.conversations.delete(id), { id, object: 'conversation.deleted', deleted: true })
  t.type(await t.rejects(client.conversations.retrieve(id)), NotFoundError)
})

t.test('items: a list of several pages', async (t) => {
  const { id } = await client.conversations.create()
  const texts = ['a', 'b', 'c', 'd', 'e']
  const items = texts.map((content) => ({ role: 'user' as const, content }))
  const added = await client.conversations.items.create(id, { items, include: ['message.output_text.logprobs'] })
  t.equal(added.data.length, 5)
  const listed = await all(id)
  t.strictSame(listed, added.data)
  const item = listed[0]?.id ?? ''
  t.strictSame(await client.conversations.items.retrieve(item, { conversation_id: id }), listed[0])
  t.match(await client.conversations.items.delete(item, { conversation_id: id }), { id, object: 'conversation' })
  t.strictSame(await all(id), listed.slice(1))
})

t.test('responses are turns of it', async (t) => {
  const { id } = await client.conversations.create()
  const one = await client.responses.create({ model, input: 'one', conversation: id })
  t.match(one, { conversation: { id }, output_text: 'You said: one' })
  const two = await client.responses.stream({ model, input: 'two', conversation: { id } }).finalResponse()
  t.equal(two.output_text, 'You said: two')
  t.strictSame(sent(), ['user one', 'assistant You said: one', 'user two'])
  t.match(await all(id), [{ role: 'user' }, { role: 'assistant' }, { role: 'user' }, { role: 'assistant' }])
  t.type(await t.rejects(client.responses.create({ model, input: 'x', conversation: 'conv_1' })), NotFoundError)
})

t.test('a turn in progress is a conflict, which the client tries again by itself', async (t) => {
  const { id } = await client.conversations.create()
  const gate = up.gated(['one'])
  upstream.next(gate.behaviour)
  const first = client.responses.stream({ model, input: 'first', conversation: id }).finalResponse()
  await upstream.request(0)
  const turn = { model, input: 'second', conversation: id }
  t.type(await t.rejects(client.responses.create(turn)), ConflictError)
  const patient = client.responses.create(turn, { maxRetries: 5 })
  gate.release(10)
  t.equal((await first).output_text, 'one')
  t.equal((await patient).output_text, 'You said: second')
  t.strictSame(sent(), ['user first', 'assistant one', 'user second'])
})

t.test('the Agents SDK', async (t) => {
  setTracingDisabled(true)
  setDefaultOpenAIClient(client)
  const weather = tool({
    name: 'weather',
    description: 'The weather in a city',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  })
  const agent = new Agent({ name: 'Client', instructions: 'Be brief.', model, tools: [weather] })
  const calling = up.completion({ toolCalls: [{ id: 'c1', name: 'weather', arguments: '{"city":"Rome"}' }] })
  const first = ['system Be brief.', 'user How is it?', 'calls c1', 'c1: sunny in Rome']

  t.test('a session that is kept as a conversation', async (t) => {
    const session = new OpenAIConversationsSession({ client })
    upstream.next(
      up.completion({ text: 'Hello.', reasoning: 'A greeting.' }),
      calling,
      up.completion({ text: 'Sunny.' }),
    )
    t.equal((await run(agent, 'Hi!', { session })).finalOutput, 'Hello.')
    t.equal((await run(agent, 'How is it?', { session })).finalOutput, 'Sunny.')
    const before = ['system Be brief.', 'user Hi!', 'assistant Hello.']
    t.strictSame(sent(), [...before, ...first.slice(1)])
    await run(agent, 'Sure?', { session })
    t.strictSame(sent(), [...before, ...first.slice(1), 'assistant Sunny.', 'user Sure?'])
    t.match(await session.popItem(), { role: 'assistant' })
    t.match((await session.getItems()).at(-1), { role: 'user' })
    const id = await session.getSessionId()
    await session.clearSession()
    t.type(await t.rejects(client.conversations.retrieve(id)), NotFoundError)
  })

  t.test('runs whose responses are turns of a conversation', async (t) => {
    const { id } = await client.conversations.create()
    upstream.next(calling, up.completion({ text: 'Sunny.' }))
    t.equal((await run(agent, 'How is it?', { conversationId: id })).finalOutput, 'Sunny.')
    const streamed = await run(agent, 'Sure?', { conversationId: id, stream: true })
    await streamed.completed
    t.strictSame(sent(), [...first, 'assistant Sunny.', 'user Sure?'])
    t.equal((await all(id)).length, 6)
  })
})
