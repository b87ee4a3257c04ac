import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import t from 'tap'
import { bun } from '../bun.ts'
import { Program } from '../process.ts'
import { gated, startUpstream } from '../upstream.ts'

const served = fileURLToPath(new URL('served.ts', import.meta.url))
const upstream = await startUpstream()
t.teardown(() => upstream.close())
const question = { model: 'model', messages: [{ role: 'user' as const, content: 'hi' }] }

for (const [runtime, program] of [
  ['Node', process.execPath],
  ['Bun', bun.program],
] as const) {
  t.test(`start listens on ${runtime}`, async (t) => {
    const process = new Program(t, program, { args: [served, upstream.baseURL] })
    const [, where, url] = await process.says(/on (\w+) at (\S+)/)
    t.equal(where, runtime)
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })

    await t.test('and answers', async (t) => {
      const completion = await client.chat.completions.create(question)
      t.equal(completion.choices[0]?.message.content, 'You said: hi')
      await t.rejects(client.chat.completions.create({ ...question, model: 'another' }), {
        status: 404,
        code: 'model_not_found',
      })
    })

    await t.test('and streams as the upstream does', async (t) => {
      const gate = gated(['one', ' two'])
      upstream.next(gate.behaviour)
      gate.release(2)
      const stream = await client.chat.completions.create({ ...question, stream: true })
      const texts: string[] = []
      for await (const chunk of stream) {
        const text = chunk.choices[0]?.delta.content
        if (text) texts.push(text)
        if (text === 'one') {
          t.equal(gate.sent, 2, 'the second is not there yet')
          gate.release(Number.POSITIVE_INFINITY)
        }
      }
      t.strictSame(texts, ['one', ' two'])
    })

    await t.test('and a client that leaves ends the upstream call', async (t) => {
      upstream.next(gated(['one', ' two']).behaviour)
      const controller = new AbortController()
      const count = upstream.requests.length
      const asked = client.chat.completions.create({ ...question, stream: true }, { signal: controller.signal })
      const { closed } = await upstream.request(count)
      controller.abort()
      await t.rejects(asked)
      t.match(await closed, { aborted: true })
    })

    process.kill('SIGTERM')
    t.equal((await process.exited).code, 0, 'and stops')
  })
}
