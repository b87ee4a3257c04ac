/** A process dies with a stream that could have been resumed. */
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { runGateway } from '../process.ts'
import { startRedis } from '../redis.ts'
import { type SSEvent, sseIn } from '../server/completing.ts'
import { gated, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

t.test(
  'its maker is killed: who follows on another replica is told so, and that is its end for everybody',
  async (t) => {
    const redis = await startRedis(t)
    const store = { kind: 'redis', url: redis.url }
    const providers = { openai: { apiKey: 'k', baseURL: upstream.baseURL } }
    const cwd = t.testdir({ 'signalbox.yaml': stringify({ providers, store }) })
    const maker = await runGateway(t, { args: ['--config', join(cwd, 'signalbox.yaml')] })
    const other = await startGateway(t, { upstream, config: { store } })

    const gate = gated(['one', ' two', ' three'])
    upstream.next(gate.behaviour)
    gate.release(2)
    const answer = await fetch(`${maker.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'x-signalbox-resumable': 'true' },
      body: JSON.stringify({ model: 'openai/m', messages: [{ role: 'user', content: 'hello' }], stream: true }),
    })
    const place = answer.headers.get('x-signalbox-resume')
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    let text = ''
    while (sseIn(text).length < 2) text += Buffer.from((await reader.read()).value ?? []).toString()
    maker.process.kill('SIGKILL')
    await t.rejects(reader.read(), 'its own client loses the connection')

    const resumed = async (seen: SSEvent[]) =>
      sseIn(
        await (await fetch(`${other.url}${place}`, { headers: { 'last-event-id': seen.at(-1)?.id ?? '0' } })).text(),
      )
    const seen = sseIn(text)
    const rest = await resumed(seen)
    t.strictSame(
      rest.map(({ id }) => id),
      ['3'],
    )
    const told = JSON.parse(rest[0]?.data ?? '')
    assertSchema('ErrorResponse', told)
    t.match(told, { error: { code: 'response_interrupted' } })
    t.strictSame(await resumed([]), [...seen, ...rest])
  },
)
