/** One conversation of the Conversations API, and two processes that take turns of it. */
import { join } from 'node:path'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { runGateway } from '../process.ts'
import { startRedis } from '../redis.ts'
import { provider, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = 'openai/m'

/** Two processes with one configuration, as behind one service of a cluster. */
async function replicas(
  t: Test,
  { conversations = {}, ...store }: { url: string; leaseTime?: string; conversations?: object },
) {
  const configuration = {
    providers: { openai: { apiKey: 'k', baseURL: upstream.baseURL } },
    conversations,
    store: { kind: 'redis', ...store },
  }
  const cwd = t.testdir({ 'signalbox.yaml': stringify(configuration) })
  const args = ['--config', join(cwd, 'signalbox.yaml')]
  const [one, other] = await Promise.all([0, 1].map(() => runGateway(t, { args })))
  if (!one || !other) throw new Error('two gateways were started')
  const client = ({ baseURL }: { baseURL: string }) =>
    new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0, logLevel: 'off' })
  return { one, other, clients: [client(one), client(other)] as const }
}

/** The texts of all its messages, oldest first. */
async function textsOf(client: OpenAI, id: string): Promise<string[]> {
  const texts: string[] = []
  for await (const item of client.conversations.items.list(id, { order: 'asc', limit: 100 })) {
    const [part] = item.type === 'message' ? item.content : []
    texts.push(part && 'text' in part ? part.text : item.type)
  }
  return texts
}

const isRefused = ({ reason }: PromiseRejectedResult): boolean => reason instanceof OpenAI.ConflictError

t.test('what one has done to it, the other knows', async (t) => {
  const redis = await startRedis(t)
  const { clients } = await replicas(t, { url: redis.url })
  const [one, other] = clients
  const { id } = await one.conversations.create({ metadata: { a: 'b' } })
  await other.conversations.update(id, { metadata: { a: 'c' } })
  for (let n = 0; n < 10; n++) {
    const conversation = { model, input: String(n), conversation: id }
    await (n % 2 ? other : one).responses.create(conversation)
  }
  t.strictSame(await textsOf(one, id), Array.from({ length: 10 }, (_, n) => [String(n), `You said: ${n}`]).flat())
  t.match(await one.conversations.retrieve(id), { metadata: { a: 'c' } })
  await other.conversations.delete(id)
  t.type(await t.rejects(one.responses.create({ model, input: 'late', conversation: id })), OpenAI.NotFoundError)
})

for (const lockTimeout of ['10s', '100ms']) {
  t.test(
    `a hundred turns at once that wait ${lockTimeout}: what was answered is there once, the rest is not`,
    async (t) => {
      const redis = await startRedis(t)
      const { clients } = await replicas(t, { url: redis.url, conversations: { lockTimeout } })
      const { id } = await clients[0].conversations.create()
      const ends = await Promise.allSettled(
        Array.from({ length: 100 }, (_, n) => {
          const client = clients[n % 2 ? 1 : 0]
          const turn = { model, input: `turn ${n}`, conversation: id, store: n % 3 > 0 }
          if (n % 5 > 0) return client.responses.create(turn, { maxRetries: 5 })
          return client.withOptions({ maxRetries: 5 }).responses.stream(turn).finalResponse()
        }),
      )
      const answered = ends.flatMap((end, n) => (end.status === 'fulfilled' ? [`turn ${n}`] : []))
      t.ok(
        ends.every((end) => end.status === 'fulfilled' || isRefused(end)),
        'refused is a 409',
      )
      t.ok(answered.length > 0)
      if (lockTimeout === '10s') t.equal(answered.length, 100)
      const texts = await textsOf(clients[1], id)
      const inputs = texts.filter((_, index) => index % 2 === 0)
      t.strictSame(inputs.toSorted(), answered.toSorted())
      t.strictSame(
        texts,
        inputs.flatMap((text) => [text, `You said: ${text}`]),
        'each with its own answer',
      )
    },
  )
}

t.test('a process that dies in the middle of a turn holds up the next one for the time of its lease', async (t) => {
  const redis = await startRedis(t)
  const conversations = { lockTimeout: '5s' }
  const { one, clients } = await replicas(t, { url: redis.url, leaseTime: '1s', conversations })
  const [first, other] = clients
  const { id } = await other.conversations.create()
  upstream.next(() => undefined)
  const dying = first.responses.create({ model, input: 'dies', conversation: id }).catch((error: unknown) => error)
  await upstream.request(0)
  one.process.kill('SIGKILL')
  t.type(await dying, Error)
  await other.responses.create({ model, input: 'lives', conversation: id })
  t.strictSame(await textsOf(other, id), ['lives', 'You said: lives'], 'the turn that died has left nothing')
})

t.test('a process that was paused past its lease writes nothing any more', async (t) => {
  const redis = await startRedis(t)
  const conversations = { lockTimeout: '5s' }
  const { one, clients } = await replicas(t, { url: redis.url, leaseTime: '1s', conversations })
  const [paused, other] = clients
  for (const next of ['is deleted', 'goes on'] as const) {
    const asked = upstream.requests.length
    const { id } = await other.conversations.create()
    const answering = Promise.withResolvers<void>()
    upstream.next(async (request, exchange) => {
      await answering.promise
      return provider(request, exchange)
    })
    const late = paused.responses.create({ model, input: 'late', conversation: id }).withResponse()
    await upstream.request(asked)
    one.process.kill('SIGSTOP')
    if (next === 'is deleted') await other.conversations.delete(id)
    else await other.responses.create({ model, input: 'next', conversation: id })
    answering.resolve()
    one.process.kill('SIGCONT')
    const { data, response } = await late
    t.equal(data.output_text, 'You said: late', 'who asked has its answer')
    t.match(response.headers.get('x-signalbox-warning'), /conversation could not be saved/)
    if (next === 'goes on') t.strictSame(await textsOf(other, id), ['next', 'You said: next'])
    else t.type(await t.rejects(other.conversations.retrieve(id)), OpenAI.NotFoundError)
  }
})
