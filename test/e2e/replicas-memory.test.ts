/** What a process remembers of responses is never what another process has changed or deleted. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { assertSchema } from '../openapi.ts'
import { startRedis } from '../redis.ts'
import { gated, startUpstream } from '../upstream.ts'
import { startReplicas } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const redis = await startRedis(t)
const [one, other] = await startReplicas(t, upstream, { store: { kind: 'redis', url: redis.url } }, { lifeMs: 60_000 })
const [a, b] = [one.client(), other.client()]
const model = 'openai/m'

/** How often values were read, and how often their versions. */
async function reads(): Promise<{ values: number; versions: number }> {
  const stats = await redis.ask('INFO', 'commandstats')
  const calls = (command: string): number => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
  return { values: calls('get'), versions: calls('getrange') }
}

t.test('a response that is asked for again and again is read once, and looked after every time', async (t) => {
  const { id } = await a.responses.create({ model, input: 'hello' })
  const first = await b.responses.retrieve(id)
  const before = await reads()
  for (let n = 0; n < 20; n++) t.strictSame(await b.responses.retrieve(id), first)
  const after = await reads()
  t.equal(after.values, before.values)
  t.equal(after.versions, before.versions + 60, 'of the response, of its items, and of its end')
})

t.test('what a thread goes on from is read once by each process', async (t) => {
  let previous: string | null = null
  const turn = async (n: number): Promise<void> => {
    const created = await [a, b][n % 2]?.responses.create({ model, input: `turn ${n}`, previous_response_id: previous })
    previous = created?.id ?? null
  }
  for (let n = 0; n < 40; n++) await turn(n)
  const before = await reads()
  for (let n = 40; n < 60; n++) await turn(n)
  const after = await reads()
  t.ok(after.values - before.values <= 20 * 5, 'the new ones, and no more the longer it is')
  t.ok(after.versions - before.versions > 20 * 40)
  t.equal((upstream.last().body as { messages: unknown[] }).messages.length, 119)
})

t.test('what one has deleted, the other does not serve once more', async (t) => {
  for (let n = 0; n < 20; n++) {
    const { id } = await a.responses.create({ model, input: `hello ${n}` })
    for (let again = 0; again < 3; again++) await b.responses.retrieve(id)
    await a.responses.delete(id)
    const gone = { status: 404, code: 'not_found' }
    await t.rejects(b.responses.retrieve(id), gone)
    await t.rejects(b.responses.inputItems.list(id), gone)
    await t.rejects(b.responses.create({ model, input: 'on', previous_response_id: id }), {
      status: 400,
      code: 'previous_response_not_found',
    })
  }
})

t.test('nor a thread of which one has deleted a part', async (t) => {
  const first = await a.responses.create({ model, input: 'one' })
  const second = await b.responses.create({ model, input: 'two', previous_response_id: first.id })
  const onward = { model, input: 'three', previous_response_id: second.id }
  await b.responses.create(onward)
  await a.responses.delete(first.id)
  await t.rejects(b.responses.create(onward), { status: 400, code: 'previous_response_not_found' })
})

t.test('a response that one makes in the background is never older on the other than it was before', async (t) => {
  const gate = gated(['one', ' two'])
  upstream.next(gate.behaviour)
  const { id } = await a.responses.create({ model, input: 'slow', background: true })
  const seen: string[] = []
  const looking = (async () => {
    for (;;) {
      const { output_text: _text, ...response } = await b.responses.retrieve(id)
      assertSchema('Response', response)
      if (response.status !== seen.at(-1)) seen.push(response.status ?? '')
      if (response.status === 'completed') return
      await sleep(2)
    }
  })()
  await upstream.request(0)
  while (seen.at(-1) !== 'in_progress') await sleep(5)
  gate.release(100)
  for await (const event of await a.responses.retrieve(id, { stream: true })) {
    if (event.type !== 'response.completed') continue
    t.match(await b.responses.retrieve(id), { status: 'completed', output_text: 'one two' })
  }
  await looking
  t.strictSame(seen.slice(-2), ['in_progress', 'completed'])
})

t.test('one that another cancels is cancelled for its maker, too', async (t) => {
  upstream.next(() => undefined)
  const { id } = await a.responses.create({ model, input: 'never', background: true })
  for (let n = 0; n < 3; n++) t.match(await a.responses.retrieve(id), { status: /queued|in_progress/ })
  await b.responses.cancel(id)
  t.match(await a.responses.retrieve(id), { status: 'cancelled' })
})
