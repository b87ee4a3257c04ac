import t from 'tap'
import { startGateway } from '../gateway.ts'
import { startAnthropic } from '../upstream/anthropic.ts'
import { startUpstream } from '../upstream.ts'

const anthropic = await startAnthropic()
t.teardown(() => anthropic.close())

const question = { model: 'anthropic/claude-haiku-4-5', messages: [{ role: 'user', content: 'hi' }] }
const providers = { anthropic: { apiKey: 'k', baseURL: anthropic.baseURL } }
const unsupported = { logit_bias: { 1: 2 }, seed: 7 }
const expected = '"logit_bias is not supported by anthropic and was ignored", "seed is not supported by anthropic"'

t.test('what a provider cannot honour is in a header, in the hooks and in the log', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const heard: string[] = []
  gateway.hooks.on('onWarning', ({ warning }) => heard.push(warning))
  const response = await gateway.post('/v1/chat/completions', { ...question, ...unsupported })
  t.equal(response.status, 200)
  t.equal(response.headers.get('x-signalbox-warning'), expected)
  t.match(await response.json(), { choices: [{ message: { content: 'You said: hi' } }] }, 'and the answer is there')
  t.equal(heard.map((warning) => JSON.stringify(warning)).join(', '), expected)
  t.match(
    gateway.logs.filter(({ msg }) => msg === 'served with a warning'),
    [
      { level: 40, model: 'anthropic/*', provider: 'anthropic', requestId: /^req_/, warning: /^logit_bias/ },
      { warning: /^seed/ },
    ],
  )
})

t.test('and so for a stream, before it begins', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const response = await gateway.post('/v1/chat/completions', { ...question, ...unsupported, stream: true })
  t.equal(response.headers.get('x-signalbox-warning'), expected)
  t.match(await response.text(), /data: \{.*data: \[DONE\]\n\n$/s)
})

t.test('no header without a warning', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const response = await gateway.post('/v1/chat/completions', question)
  t.equal(response.headers.get('x-signalbox-warning'), null)
  await response.text()
})

t.test('browsers may read it, and the name of the conversation', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const response = await gateway.post('/v1/chat/completions', question, { headers: { origin: 'https://app.example' } })
  const exposed = response.headers.get('access-control-expose-headers')?.split(/, */) ?? []
  t.ok(exposed.includes('x-signalbox-warning'))
  t.ok(exposed.includes('x-conversation-id'))
  await response.text()
})

t.test('what the request itself says is no line of the header', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const agents = { closed: { model: 'openai/m', allowExternalTools: false } }
  const gateway = await startGateway(t, { upstream, config: { agents } })
  const tools = [{ type: 'function', function: { name: 'mine' } }]
  const response = await gateway.post('/v1/chat/completions', { ...question, model: 'closed', tools })
  t.match(response.headers.get('x-signalbox-warning'), /^"[\x20-\x7e]*"$/)
  await response.text()
  t.strictSame((upstream.last().body as { tools?: unknown }).tools, undefined)
})
