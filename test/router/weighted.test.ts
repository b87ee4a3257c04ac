import t from 'tap'
import { createDemo, type LLMClient, type WeightedTarget, weighted } from '../../src/index.ts'

const request = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

/** A target that counts what it is asked. */
function target(name: string, weight?: number) {
  const counts = { complete: 0, stream: 0, embed: 0, close: 0 }
  const demo = createDemo({ pace: 0 })
  const client: LLMClient = {
    provider: name,
    model: `${name}-model`,
    complete(request, call) {
      counts.complete++
      return demo.complete(request, call)
    },
    stream(request, call) {
      counts.stream++
      return demo.stream(request, call)
    },
    async embed({ model }) {
      counts.embed++
      return { object: 'list', data: [], model, usage: { prompt_tokens: 1, total_tokens: 1 } }
    },
    async close() {
      counts.close++
    },
  }
  const entry: WeightedTarget = weight === undefined ? { client } : { client, weight }
  return { client, counts, entry }
}

t.test('requests are shared out by weight', async (t) => {
  const draws = 2000
  const a = target('a', 3)
  const b = target('b', 1)
  const c = target('c')
  const client = weighted([a.entry, b.entry, c.entry])
  for (let i = 0; i < draws; i++) await client.complete(request)
  // Seven standard deviations: a fair draw leaves them once in 10^11 runs.
  for (const [{ counts }, share] of [
    [a, 3 / 5],
    [b, 1 / 5],
    [c, 1 / 5],
  ] as const) {
    const bound = 7 * Math.sqrt(draws * share * (1 - share))
    t.ok(Math.abs(counts.complete - draws * share) < bound, `${counts.complete} of ${draws} for a share of ${share}`)
  }
  t.equal(a.counts.complete + b.counts.complete + c.counts.complete, draws)
})

t.test('only the proportion counts, not the size of the numbers', async (t) => {
  const a = target('a', 0.003)
  const b = target('b', 0.001)
  const client = weighted([a.entry, b.entry])
  for (let i = 0; i < 2000; i++) await client.complete(request)
  t.ok(Math.abs(a.counts.complete - 1500) < 7 * Math.sqrt(2000 * 0.75 * 0.25))
})

t.test('a weight of 0 takes a target out', async (t) => {
  const off = target('off', 0)
  const on = target('on', 0.1)
  const alsoOff = target('also off', 0)
  const client = weighted([off.entry, on.entry, alsoOff.entry])
  for (let i = 0; i < 500; i++) await client.complete(request)
  t.strictSame([off.counts.complete, on.counts.complete, alsoOff.counts.complete], [0, 500, 0])
})

t.test('completions, streams and embeddings are all drawn', async (t) => {
  const on = target('on', 1)
  const client = weighted([target('off', 0).entry, on.entry])
  const completion = await client.complete(request)
  t.match(completion.choices[0]?.message.content, 'You said: hi')
  let text = ''
  for await (const chunk of client.stream(request)) text += chunk.choices[0]?.delta.content ?? ''
  t.match(text, 'You said: hi')
  t.match(await client.embed?.({ model: 'm', input: 'x' }), { object: 'list' })
  t.match(on.counts, { complete: 1, stream: 1, embed: 1 })
})

t.test('a drawn target that makes no embeddings is a 400, not a crash', async (t) => {
  const client = weighted([target('off', 0).entry, { client: createDemo() }])
  const failure = async () => client.embed?.({ model: 'm', input: 'x' })
  await t.rejects(failure(), { code: 'unsupported', status: 400, param: 'model' })
})

t.test('tells which target it has drawn, before that is called', async (t) => {
  const failing = {
    ...target('bad').client,
    complete: () => Promise.reject(new Error('down')),
  }
  const client = weighted([target('off', 0).entry, { client: failing }])
  const told: unknown[] = []
  await t.rejects(client.complete(request, { onTarget: (target) => told.push(target) }))
  t.strictSame(told, [{ provider: 'bad', model: 'bad-model' }])
})

t.test('of a provider that serves any model, it tells the one that was asked for', async (t) => {
  const any = { ...target('lab').client, model: '*' }
  const client = weighted([target('off', 0).entry, { client: any }])
  const told: string[] = []
  const call = {
    onTarget: ({ provider, model }: { provider: string; model: string }) => told.push(`${provider}/${model}`),
  }
  await client.complete({ ...request, model: 'one' }, call)
  for await (const _ of client.stream({ ...request, model: 'two' }, call)) break
  await client.embed?.({ model: 'three', input: 'x' }, call)
  t.strictSame(told, ['lab/one', 'lab/two', 'lab/three'])
})

t.test('one target needs no draw: it is the client itself', async (t) => {
  const only = target('only', 0)
  t.equal(weighted([only.entry]), only.client)
})

t.test('no target, or none with a weight, is refused', async (t) => {
  t.throws(() => weighted([]), { message: /at least one target/ })
  t.throws(() => weighted([target('a', 0).entry, target('b', 0).entry]), { message: /weight above 0/ })
})

t.test('it is named for what its targets have in common', async (t) => {
  const a = target('a').client
  const b = target('b').client
  const name = ({ provider, model }: LLMClient) => [provider, model]
  t.strictSame(name(weighted([{ client: a }, { client: { ...a } }])), ['a', 'a-model'])
  t.strictSame(name(weighted([{ client: a }, { client: b }])), ['mixed', 'mixed'])
  t.strictSame(name(weighted([{ client: a }, { client: { ...b, provider: 'a' } }])), ['a', 'mixed'])
})

t.test('closing it closes every target, also those that cannot be closed', async (t) => {
  const a = target('a')
  const b = target('b', 0)
  await weighted([a.entry, b.entry, { client: createDemo() }]).close?.()
  t.strictSame([a.counts.close, b.counts.close], [1, 1])
})

t.test('the steps of one run stay with the target that its first step drew', async (t) => {
  const [a, b] = [target('a'), target('b')]
  const client = weighted([a.entry, b.entry])
  for (let n = 0; n < 50; n++) {
    const run = {}
    const targets: string[] = []
    const call = { run, onTarget: ({ provider }: { provider: string }) => void targets.push(provider) }
    for (let step = 0; step < 3; step++) await client.complete(request, call)
    t.equal(new Set(targets).size, 1)
  }
  t.ok(a.counts.complete > 0 && b.counts.complete > 0, 'another run may have another')
})
