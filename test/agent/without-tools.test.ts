import t from 'tap'
import { withoutTools } from '../../src/agent/without-tools.ts'
import { createLLM } from '../../src/index.ts'
import { callersTool } from '../core.ts'
import { startUpstream } from '../upstream.ts'
import { ask, chunksOf } from './runs.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = createLLM({ model: 'lab/m', baseURL: upstream.baseURL })
t.teardown(() => model.close?.())
const client = withoutTools(model)

/** What is sent for a request, and what the caller is warned of; answered and streamed. */
async function sent(t: Parameters<typeof chunksOf>[0], request: ReturnType<typeof ask>) {
  const warnings: string[] = []
  const call = { onWarning: (warning: string) => void warnings.push(warning) }
  await client.complete(request, call)
  const { body } = upstream.last()
  await chunksOf(t, client, request, call)
  t.strictSame(upstream.last().body, { ...(body as object), stream: true })
  t.equal(warnings.length % 2, 0)
  return { body, warnings: new Set(warnings).size === 1 ? warnings[0] : undefined }
}

const warning = 'this model takes no tools from its callers; they were ignored'

t.test('the tools of callers are left out, and callers told', async (t) => {
  const tools = { tools: [callersTool('a')], tool_choice: 'required', parallel_tool_calls: false }
  t.strictSame(await sent(t, ask('?', { ...tools, temperature: 1 })), {
    body: { ...ask('?'), temperature: 1 },
    warnings: warning,
  })
  const functions = { functions: [{ name: 'f' }], function_call: 'auto' }
  t.strictSame(await sent(t, ask('?', functions)), { body: ask('?'), warnings: warning })
})

t.test('who sends none is told nothing', async (t) => {
  t.strictSame(await sent(t, ask('?')), { body: ask('?'), warnings: undefined })
  const none = { tools: [], tool_choice: 'auto', functions: null }
  t.strictSame(await sent(t, ask('?', none)), { body: ask('?'), warnings: undefined })
})

t.test('it is the client in everything else', async (t) => {
  t.match(client, { provider: 'lab', model: 'm' })
  const answer = await client.embed?.({ model: 'm', input: 'x' })
  t.match(answer, { object: 'list' })
  t.equal(withoutTools({ ...client, embed: undefined } as unknown as typeof model).embed, undefined)

  const closing = withoutTools(createLLM({ model: 'lab/m', baseURL: upstream.baseURL }))
  await closing.complete(ask('?'))
  await closing.close?.()
  await t.rejects(closing.complete(ask('?')))
})
