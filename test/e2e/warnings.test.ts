import t from 'tap'
import { defineTool } from '../../src/index.ts'
import { startGateway } from '../gateway.ts'
import { anthropic as dialect, startAnthropic } from '../upstream/anthropic.ts'
import { play } from '../upstream/dialect.ts'
import { startGoogle } from '../upstream/google.ts'
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
  t.strictSame(exposed, ['*'])
  await response.text()
})

t.test('and so for Google, whole and streamed', async (t) => {
  const google = await startGoogle()
  t.teardown(() => google.close())
  const gateway = await startGateway(t, { config: { providers: { google: { apiKey: 'k', baseURL: google.baseURL } } } })
  const ask = { ...question, model: 'google/gemini-2.5-flash', logit_bias: { 1: 2 }, prediction: { type: 'content' } }
  for (const stream of [false, true]) {
    const response = await gateway.post('/v1/chat/completions', { ...ask, stream })
    t.equal(response.status, 200)
    t.equal(
      response.headers.get('x-signalbox-warning'),
      '"logit_bias is not supported by google and was ignored", "prediction is not supported by google and was ignored"',
    )
    await response.text()
  }
  t.equal(gateway.logs.filter(({ msg }) => msg === 'served with a warning').length, 4)
})

t.test('nothing that the request says breaks out of the header', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const odd = 'é"\\\r\nx-injected: yes\u2028\u0000\u{1f600}'
  for (const stream of [false, true]) {
    const body = { ...question, stream, [odd]: 1, ['long'.repeat(1000)]: 1 }
    const response = await gateway.post('/v1/chat/completions', body)
    t.equal(response.status, 200)
    t.equal(response.headers.get('x-injected'), null)
    const header = response.headers.get('x-signalbox-warning') ?? ''
    t.match(header, /^[\x20-\x7e]*$/)
    const warnings = JSON.parse(`[${header}]`) as string[]
    t.equal(warnings.length, 2, 'each is one string in quotes')
    t.match(warnings[0], /^\?"\\\?\?x-injected: yes\?+ is not supported by anthropic/)
    t.ok(warnings.every((warning) => warning.length <= 500))
    await response.text()
  }
})

t.test('an agent that takes no tools says so, once, however many steps it takes', async (t) => {
  const clock = defineTool({ name: 'clock', execute: () => 'noon' })
  const agents = { helper: { model: 'anthropic/claude-haiku-4-5', tools: ['clock'], allowExternalTools: false } }
  const gateway = await startGateway(t, { config: { providers, agents }, extension: { tools: [clock] } })
  const heard: string[] = []
  gateway.hooks.on('onWarning', ({ warning }) => heard.push(warning))
  const tools = [{ type: 'function', function: { name: 'mine', parameters: { type: 'object' } } }]
  for (const stream of [false, true]) {
    heard.length = 0
    anthropic.next(play(dialect, { calls: [{ id: 'toolu_1', name: 'clock', arguments: {} }] }))
    const response = await gateway.post('/v1/chat/completions', {
      ...question,
      model: 'helper',
      tools,
      logit_bias: {},
      stream,
    })
    const told = response.headers.get('x-signalbox-warning')
    await response.text()
    t.equal(told, heard.map((warning) => JSON.stringify(warning)).join(', '))
    t.match(heard, [/^this model takes no tools from its callers/, /^logit_bias is not supported/])
    t.equal(heard.length, 2)
  }
})

t.test('more of them than a header holds do not cost the client its answer', async (t) => {
  const gateway = await startGateway(t, { config: { providers } })
  const fields = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`field_${n}`, n]))
  for (const stream of [false, true]) {
    const response = await gateway.post('/v1/chat/completions', { ...question, ...fields, stream })
    t.equal(response.status, 200)
    t.ok((response.headers.get('x-signalbox-warning') ?? '').length < 5000)
    t.match(await response.text(), /You said/)
  }
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
