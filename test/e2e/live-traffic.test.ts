import t from 'tap'
import { until } from '../redis-server.ts'
import { completion, gated } from '../upstream.ts'
import { hello, start, startProvider, usualAt } from './start-live.ts'

const [upstream, second] = await Promise.all([startProvider(t), startProvider(t)])
const usual = usualAt(upstream)
const { models } = usual

t.test('what is under way ends as it began', async (t) => {
  const live = await start(t, usual)
  const gate = gated([' one', ' two', ' three'])
  upstream.next(gate.behaviour)
  gate.release(2)
  const stream = await live.client().chat.completions.create({ model: 'fast', stream: true, ...hello })
  await until(() => gate.sent === 2, 'the stream has begun')

  await live.write({ ...usual, providers: { openai: { apiKey: 'other', baseURL: second.baseURL } } })
  await live.reloads('applied')
  t.equal(await live.status(), 200)
  t.equal(second.requests.length, 1, 'new requests go to the new provider')
  t.equal(second.last().headers.authorization, 'Bearer other')
  t.equal(upstream.openConnections(), 1, 'the old one has the stream')

  gate.release(100)
  let text = ''
  let finish: string | null | undefined
  for await (const { choices } of stream) {
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason ?? finish
  }
  t.equal(text, ' one two three')
  t.equal(finish, 'stop')
  await until(() => upstream.openConnections() === 0, 'and then its connections are closed')
})

t.test('under traffic, with open streams, no request fails while the file is swapped twenty times', async (t) => {
  const versions = [upstream, second].map(({ baseURL }, n) => ({
    providers: { openai: { apiKey: `k${n}`, baseURL } },
    models: { ...models, [`extra-${n}`]: models.fast },
    agents: { helper: { model: 'fast', system: `version ${n}` } },
    auth: { keys: [{ key: 'sk-alice-0001' }, { key: `sk-extra-000${n}` }] },
  }))
  const live = await start(t, versions[0] ?? {})
  const tokens = Array.from({ length: 20 }, (_, n) => ` word${n}`)
  for (const provider of [upstream, second]) provider.behave(completion({ tokens, delayMs: 15 }))

  const client = live.client('sk-alice-0001')
  const failures: unknown[] = []
  let answered = 0
  let isOver = false
  const sends = async (send: () => Promise<string>): Promise<void> => {
    while (!isOver) {
      try {
        const text = await send()
        if (text !== tokens.join('')) failures.push(text)
        answered += 1
      } catch (error) {
        failures.push(error)
      }
    }
  }
  const whole = (model: string) => async (): Promise<string> =>
    (await client.chat.completions.create({ model, ...hello })).choices[0]?.message.content ?? ''
  const streamed = (model: string) => async (): Promise<string> => {
    let text = ''
    const stream = await client.chat.completions.create({ model, stream: true, ...hello })
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    return text
  }
  const traffic = ['fast', 'helper'].flatMap((model) => [
    ...[1, 2, 3].map(() => sends(streamed(model))),
    sends(whole(model)),
  ])
  for (let n = 1; n <= 20; n++) {
    await live.write(versions[n % 2] ?? {})
    await live.reloads('applied', n)
  }
  isOver = true
  await Promise.all(traffic)
  t.strictSame(failures, [])
  t.ok(answered >= 40, `${answered} were answered`)
  t.ok(upstream.requests.length > 0 && second.requests.length > 0, 'by the one and the other')
  for (const [provider, key, system] of [
    [upstream, 'Bearer k0', 'version 0'],
    [second, 'Bearer k1', 'version 1'],
  ] as const) {
    for (const { headers, body } of provider.requests) {
      const [first] = (body as { messages: { role: string; content: string }[] }).messages
      if (headers.authorization !== key) t.fail('a key of the other configuration')
      if (first?.role === 'system' && first.content !== system) t.fail('instructions of the other configuration')
    }
  }
})
