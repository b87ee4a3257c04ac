import type OpenAI from 'openai'
import t, { type Test } from 'tap'
import { startRedis } from '../redis.ts'
import { chunksIn, type SSEvent, sseIn, textOf } from '../server/completing.ts'
import { completion, startUpstream } from '../upstream.ts'
import { startReplicas } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

type Message = { role: string; content: string }
const sent = (): Message[] => (upstream.last().body as { messages: Message[] }).messages

async function replicas(t: Test, store: object) {
  const config = { conversations: { lockTimeout: '5s' }, store: { kind: 'redis', ...store } }
  const started = await startReplicas(t, upstream, config)
  return started.map(({ client, url, process }) => ({
    url,
    process,
    client: client(),
    ask: (content: string, conversation?: string, options: { maxRetries?: number } = {}) =>
      client(options).chat.completions.create(
        { model: conversation ? 'helper' : 'openai/m', messages: [{ role: 'user', content }] },
        { headers: conversation ? { 'x-conversation-id': conversation } : {} },
      ),
  }))
}

t.test('what one replica has answered, the other knows', async (t) => {
  const redis = await startRedis(t)
  const gateways = await replicas(t, { url: redis.url })
  for (let n = 0; n < 20; n++) await gateways[n % 2]?.ask(String(n), 'c1')
  t.strictSame(
    sent().map(({ content }) => content),
    Array.from({ length: 20 }, (_, n) => (n < 19 ? [String(n), `You said: ${n}`] : ['19'])).flat(),
  )
})

t.test('turns at once on both: each is in the conversation once', async (t) => {
  const redis = await startRedis(t)
  const gateways = await replicas(t, { url: redis.url })
  const turns = Array.from({ length: 60 }, (_, n) => gateways[n % 2]?.ask(`turn ${n}`, 'c1', { maxRetries: 2 }))
  const ends = await Promise.allSettled(turns)
  const answered = ends.flatMap((end, n) => (end.status === 'fulfilled' ? [`turn ${n}`] : []))
  await gateways[0]?.ask('last', 'c1')
  const users = sent().filter(({ role }) => role === 'user')
  t.equal(answered.length, 60)
  t.strictSame(users.map(({ content }) => content).sort(), [...answered, 'last'].sort())
})

t.test('a replica that dies in the middle of a turn holds up the next one for the time of its lease', async (t) => {
  const redis = await startRedis(t)
  const [one, other] = await replicas(t, { url: redis.url, leaseTime: '1s' })
  const hung = upstream.requests.length
  upstream.next(() => undefined)
  const dying = one?.ask('dies', 'c1').catch((error: unknown) => error)
  await upstream.request(hung)
  one?.process.kill('SIGKILL')
  t.type(await dying, Error)
  await other?.ask('lives', 'c1')
  t.strictSame(
    sent().map(({ content }) => content),
    ['lives'],
    'the turn that died has left nothing',
  )
})

t.test('responses', async (t) => {
  const redis = await startRedis(t)
  const [one, other] = await replicas(t, { url: redis.url })
  if (!one || !other) return
  const model = 'openai/m'

  t.test('what one has completed, the other goes on with at once, a hundred times', async (t) => {
    let previous: string | null = null
    for (let n = 0; n < 100; n++) {
      const { client } = n % 2 ? other : one
      const response: OpenAI.Responses.Response = await client.responses.create({
        model,
        input: `turn ${n}`,
        previous_response_id: previous,
      })
      t.equal(response.output_text, `You said: turn ${n}`)
      previous = response.id
    }
    t.equal(sent().length, 199)
    t.match(sent()[0], { role: 'user', content: 'turn 0' })
  })

  t.test('who loses one gets from the other what it has not seen, each event once', async (t) => {
    const tokens = Array.from({ length: 60 }, (_, n) => `${n} `)
    upstream.next(completion({ tokens, delayMs: 10 }))
    const stream = await one.client.responses.create({ model, input: 'long', background: true, stream: true })
    const numbers: number[] = []
    let id = ''
    let text = ''
    for await (const event of stream) {
      numbers.push(event.sequence_number)
      if (event.type === 'response.created') id = event.response.id
      if (event.type === 'response.output_text.delta') text += event.delta
      if (text.length > 20) break
    }
    const rest = await other.client.responses.retrieve(id, { stream: true, starting_after: numbers.at(-1) ?? 0 })
    for await (const event of rest) {
      numbers.push(event.sequence_number)
      if (event.type === 'response.output_text.delta') text += event.delta
    }
    t.strictSame(
      numbers,
      numbers.map((_, index) => index),
    )
    t.equal(text, tokens.join(''))
    t.match(await other.client.responses.retrieve(id), { status: 'completed', output_text: text })
  })

  t.test('the other cancels, and deletes', async (t) => {
    upstream.next(() => undefined)
    const { id } = await one.client.responses.create({ model, input: 'never', background: true })
    t.match(await other.client.responses.cancel(id), { status: 'cancelled' })
    t.match(await one.client.responses.retrieve(id), { status: 'cancelled' })
    await other.client.responses.delete(id)
    t.match(await one.client.responses.retrieve(id).catch((error: unknown) => error), { status: 404 })
  })
})

t.test('chat completions', async (t) => {
  const redis = await startRedis(t)
  const [one, other] = await replicas(t, { url: redis.url })
  if (!one || !other) return
  const ask = { model: 'openai/m', messages: [{ role: 'user' as const, content: 'long' }] }
  const tokens = Array.from({ length: 80 }, (_, n) => `${n} `)

  /** Begins a stream that can be resumed, and loses its connection after some events. */
  async function begun(count: number) {
    const lost = new AbortController()
    const answer = await fetch(`${one?.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'x-signalbox-resumable': 'true' },
      body: JSON.stringify({ ...ask, stream: true, store: true }),
      signal: lost.signal,
    })
    let text = ''
    for await (const part of answer.body ?? []) {
      text += Buffer.from(part).toString()
      if (sseIn(text.slice(0, text.lastIndexOf('\n\n'))).length >= count) break
    }
    lost.abort()
    const seen = sseIn(text.slice(0, text.lastIndexOf('\n\n')))
    return { place: answer.headers.get('x-signalbox-resume') ?? '', seen }
  }
  const resumed = async (place: string, seen: SSEvent[]) =>
    sseIn(await (await fetch(other.url + place, { headers: { 'last-event-id': seen.at(-1)?.id ?? '' } })).text())

  t.test('what one has stored, the other retrieves, lists, updates and deletes', async (t) => {
    const made: string[] = []
    for (let n = 0; n < 10; n++) {
      const { client } = n % 2 ? other : one
      const { id } = await client.chat.completions.create({ ...ask, store: true, metadata: { n: String(n) } })
      made.push(id)
    }
    for (const { client } of [one, other]) {
      const ids: string[] = []
      for await (const { id } of client.chat.completions.list({ limit: 3 })) ids.push(id)
      t.strictSame(ids, made.toSorted())
    }
    const [id = ''] = made
    await one.client.chat.completions.update(id, { metadata: { by: 'one' } })
    t.match(await other.client.chat.completions.retrieve(id), { metadata: { by: 'one' } })
    await other.client.chat.completions.delete(id)
    t.match(await one.client.chat.completions.retrieve(id).catch((error: unknown) => error), { status: 404 })
    t.equal((await one.client.chat.completions.list()).data.length, 9)
  })

  t.test('who loses a stream of one gets the rest from the other, each event once', async (t) => {
    for (const count of [1, 20, 60]) {
      upstream.next(completion({ tokens, delayMs: 5 }))
      const { place, seen } = await begun(count)
      t.ok(seen.length < 80, `${seen.length} events were seen`)
      const events = [...seen, ...(await resumed(place, seen))]
      t.strictSame(
        events.map(({ id }) => id),
        events.map((_, index) => String(index + 1)),
      )
      t.equal(textOf(chunksIn(events)), tokens.join(''))
      const stored = await other.client.chat.completions.retrieve(place.slice(place.lastIndexOf('/') + 1))
      t.equal(stored.choices[0]?.message.content, tokens.join(''))
    }
  })
})

t.test(
  'while Redis is away: what needs no store is served, the rest is a 503, and it comes back by itself',
  async (t) => {
    const redis = await startRedis(t)
    const [one, other] = await replicas(t, { url: redis.url, required: true, commandTimeout: '300ms' })
    await one?.ask('before', 'c1')
    await redis.kill()
    await t.rejects(async () => one?.ask('away', 'c1'), { status: 503, code: 'store_unavailable', headers: Headers })
    t.ok(await one?.ask('stateless'))
    t.match(await (await fetch(`${other?.url}/ready`)).json(), { status: 'not_ready', reasons: { store: String } })
    await redis.restart()
    t.ok(await other?.ask('after', 'c1', { maxRetries: 5 }))
    t.equal((await fetch(`${other?.url}/ready`)).status, 200)
  },
)
