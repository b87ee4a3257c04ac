import t from 'tap'
import { createDemo, createLLM, observed } from '../../src/index.ts'
import { pinned } from '../../src/router/pinned.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
const everything = createLLM({ model: 'lab/*', baseURL: upstream.baseURL })
t.teardown(() => everything.close?.())
t.beforeEach(() => upstream.reset())

const request = { model: 'alias', messages: [{ role: 'user' as const, content: 'hi' }], seed: 7 }

t.test('every request goes to the one model, whatever it names', async (t) => {
  const client = pinned(everything, 'small')
  t.match(client, { provider: 'lab', model: 'small' })

  t.match(await client.complete(request), { model: 'small' })
  t.match(upstream.last().body, { model: 'small', seed: 7 })

  for await (const chunk of client.stream({ ...request, stream: true })) t.equal(chunk.model, 'small')
  t.match(upstream.last().body, { model: 'small', stream: true })

  t.match(await client.embed?.({ model: 'alias', input: 'x' }), { model: 'small' })
  t.match(upstream.last(), { path: '/v1/embeddings', body: { model: 'small', input: 'x' } })
  t.equal(request.model, 'alias', 'the request itself is left alone')
})

t.test('several models of one client do not meet', async (t) => {
  const models = ['small', 'large', 'org/with:signs.1']
  await Promise.all(models.map((model) => pinned(everything, model).complete(request)))
  t.strictSame(upstream.requests.map(({ body }) => (body as typeof request).model).sort(), models.toSorted())
})

t.test('what travels beside a request goes along', async (t) => {
  await pinned(everything, 'small').complete(request, { requestId: 'req_7' })
  t.equal(upstream.last().headers['x-request-id'], 'req_7')
})

t.test('one that takes no requests for a while says so', async (t) => {
  t.equal(pinned(everything, 'small').unavailableMs, undefined)
  t.equal(pinned({ ...everything, unavailableMs: () => 7 }, 'small').unavailableMs?.(), 7)
})

t.test('a client without embeddings stays one', async (t) => {
  t.equal(pinned(createDemo(), 'small').embed, undefined)
})

t.test('a client that takes no requests at the moment says so', async (t) => {
  const closed = { ...createDemo(), unavailableMs: () => 5 }
  t.equal(pinned(closed, 'small').unavailableMs?.(), 5)
  t.equal(observed(closed).unavailableMs?.(), 5)
  t.equal(pinned(createDemo(), 'small').unavailableMs, undefined)
  t.equal(observed(createDemo()).unavailableMs, undefined)
})

t.test('a provider that speaks the Responses API is asked for the one model there, too', async (t) => {
  t.equal(pinned(everything, 'small').responses, undefined)
  const native = createLLM({ model: 'lab/*', baseURL: upstream.baseURL, responses: 'native' })
  t.teardown(() => native.close?.())
  const { responses } = pinned(native, 'small')
  const asked = { model: 'alias', input: 'hi', store: false }
  t.match(await responses?.create(asked, { requestId: 'req_7' }), { model: /^small/ })
  t.match(upstream.last(), { path: '/v1/responses', body: { model: 'small' }, headers: { 'x-request-id': 'req_7' } })
  for await (const event of responses?.stream(asked) ?? []) t.match(event.type, /^response\./)
  t.match(upstream.last().body, { model: 'small', stream: true })
})
