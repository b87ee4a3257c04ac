import t from 'tap'
import { instructed } from '../../src/agent/instructed.ts'
import { createLLM } from '../../src/index.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const plain = createLLM({ model: 'lab/small', baseURL: upstream.baseURL })
t.teardown(() => plain.close?.())

const system = { role: 'system' as const, content: 'Be brief.' }
const messages = [
  { role: 'system' as const, content: 'from the caller' },
  { role: 'user' as const, content: 'hi' },
]

t.test('every request begins with the system message, before whatever the caller sends', async (t) => {
  const client = instructed(plain, system.content)
  t.match(client, { provider: 'lab', model: 'small' })
  const request = { model: 'm', messages, temperature: 0.5 }

  await client.complete(request)
  t.strictSame(upstream.last().body, { model: 'small', messages: [system, ...messages], temperature: 0.5 })

  for await (const chunk of client.stream({ ...request, stream: true })) t.equal(chunk.model, 'small')
  t.match(upstream.last().body, { stream: true, messages: [system, ...messages] })
  t.equal(request.messages.length, 2, 'the request itself is left alone')
})

t.test('what travels beside a request goes along', async (t) => {
  await instructed(plain, 'x').complete({ model: 'm', messages }, { requestId: 'req_7' })
  t.equal(upstream.last().headers['x-request-id'], 'req_7')
})

t.test('it makes no embeddings: there is nothing to instruct', async (t) => {
  t.equal(instructed(plain, 'x').embed, undefined)
})

t.test('closing it closes the client', async (t) => {
  const client = createLLM({ model: 'lab/small', baseURL: upstream.baseURL })
  const wrapped = instructed(client, 'x')
  await wrapped.complete({ model: 'm', messages })
  await wrapped.close?.()
  await t.rejects(client.complete({ model: 'm', messages }))
})
