/** Two processes on one Redis, with more turns than anybody waits for one after the other. */
import { deepEqual } from 'node:assert/strict'
import OpenAI, { APIError } from 'openai'
import t from 'tap'
import { messagesOf } from '../core.ts'
import { startRedis } from '../redis.ts'
import { completion, startUpstream } from '../upstream.ts'
import { type Replica, startReplicas } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const lifeMs = 90_000
const inTurn = ([one, other]: [Replica, Replica], n: number): Replica => (n % 2 ? other : one)

/** What was said to the model last, each message as its text. */
const saidLast = (): unknown[] => messagesOf(upstream.last()).map(({ content }) => content)

type Turn = Pick<OpenAI.Responses.ResponseCreateParams, 'model' | 'input' | 'previous_response_id'>

t.test('a thousand turns, each on the other process, half of them streamed: none is lost', async (t) => {
  const redis = await startRedis(t)
  const replicas = await startReplicas(t, upstream, { store: { kind: 'redis', url: redis.url } }, { lifeMs })
  let previous: string | null = null
  for (let n = 0; n < 1000; n++) {
    // Only the last is looked at.
    upstream.requests.length = 0
    const client = inTurn(replicas, n).client()
    const turn: Turn = { model: 'openai/m', input: `turn ${n}`, previous_response_id: previous }
    if (n % 4 < 2) {
      previous = (await client.responses.create(turn)).id
      continue
    }
    for await (const event of await client.responses.create({ ...turn, stream: true })) {
      if (event.type !== 'response.completed') continue
      previous = event.response.id
      // Whoever has seen that goes on at once, and does not wait for the end of the stream.
      break
    }
  }
  const expected = Array.from({ length: 1000 }, (_, n) => [`turn ${n}`, `You said: turn ${n}`]).flat()
  deepEqual(saidLast(), expected.slice(0, -1))
  t.pass('all of them, in order')
})

/** Many turns at once on one conversation. Every answer has come to its end, and the conversation holds what was answered. */
for (const stream of [false, true]) {
  t.test(
    `200 turns at once${stream ? ', streamed' : ''}: each is in the conversation once, or was refused`,
    async (t) => {
      const redis = await startRedis(t)
      const config = { conversations: { lockTimeout: '600ms' }, store: { kind: 'redis', url: redis.url } }
      const replicas = await startReplicas(t, upstream, config, { lifeMs })
      upstream.behave(completion({ firstDelayMs: 5 }))
      const headers = { 'x-conversation-id': 'c1' }
      const take = async (content: string, replica: Replica, maxRetries = 0): Promise<void> => {
        const { completions } = replica.client({ maxRetries }).chat
        const messages = [{ role: 'user' as const, content }]
        if (!stream) return void (await completions.create({ model: 'helper', messages }, { headers }))
        for await (const _chunk of await completions.create({ model: 'helper', messages, stream }, { headers }));
      }
      const turns = Array.from({ length: 200 }, (_, n) => `turn ${n}`)
      const ends = await Promise.allSettled(turns.map((content, n) => take(content, inTurn(replicas, n))))
      const answered = turns.filter((_, n) => ends[n]?.status === 'fulfilled')
      const refusals = ends.flatMap((end): unknown[] => (end.status === 'rejected' ? [end.reason] : []))
      t.ok(answered.length > 1)
      t.ok(refusals.length > 1)
      const isRefusal = (error: unknown): boolean =>
        error instanceof APIError && error.code === 'conversation_locked' && error.headers?.get('retry-after') !== null
      t.strictSame(
        refusals.filter((error) => !isRefusal(error)),
        [],
      )

      await take('last', replicas[0], 5)
      const said = saidLast().map(String)
      const users = said.filter((_, n) => n % 2 === 0)
      deepEqual(users.toSorted(), [...answered, 'last'].toSorted())
      // One turn after the other: each message has its own answer behind it.
      deepEqual(
        said.filter((_, n) => n % 2 === 1),
        users.slice(0, -1).map((content) => `You said: ${content}`),
      )
    },
  )
}

t.test('the SDK as it comes gets all of 20 contending turns through', async (t) => {
  const redis = await startRedis(t)
  const replicas = await startReplicas(t, upstream, { store: { kind: 'redis', url: redis.url } }, { lifeMs })
  upstream.behave(completion({ firstDelayMs: 100 }))
  const turns = Array.from({ length: 20 }, (_, n) => `turn ${n}`)
  const take = (content: string, n: number) =>
    new OpenAI({ baseURL: `${inTurn(replicas, n).url}/v1`, apiKey: 'any' }).chat.completions.create(
      { model: 'helper', messages: [{ role: 'user', content }] },
      { headers: { 'x-conversation-id': 'c1' } },
    )
  const answers = await Promise.all(turns.map(take))
  t.strictSame(
    answers.map(({ choices }) => choices[0]?.message.content),
    turns.map((content) => `You said: ${content}`),
  )
  await take('last', 0)
  t.strictSame(
    saidLast()
      .filter((_, n) => n % 2 === 0)
      .toSorted(),
    [...turns, 'last'].toSorted(),
  )
})
