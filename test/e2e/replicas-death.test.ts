/** Two processes on one Redis, of which one is killed or stands still in the middle of its work. */
import { setTimeout as sleep } from 'node:timers/promises'
import type OpenAI from 'openai'
import t from 'tap'
import type { ResponseEvent } from '../../src/responses/response-types.ts'
import { messagesOf } from '../core.ts'
import { assertSchema } from '../openapi.ts'
import { startRedis } from '../redis.ts'
import { eventsIn } from '../server/responding.ts'
import { type Behaviour, completion, gated, startUpstream } from '../upstream.ts'
import { type Replica, startReplicas } from './start-replicas.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const model = 'openai/m'
const lifeMs = 90_000

/** As long as a process that gives no sign of life counts as alive, and some more for a busy machine. */
const deathMs = 30_000 + 10_000

/** The events of a stored response, from its first on, read by hand: the SDK raises at the first error. */
async function eventsOf(replica: Replica, id: string): Promise<ResponseEvent[]> {
  return eventsIn(await (await fetch(`${replica.url}/v1/responses/${id}?stream=true`)).text())
}

/** Polls as a client does, until the response is over. */
async function ended(replica: Replica, id: string): Promise<OpenAI.Responses.Response> {
  for (;;) {
    const response = await replica.client().responses.retrieve(id)
    if (response.status !== 'queued' && response.status !== 'in_progress') return response
    await sleep(100)
  }
}

/** Begins a response whose model says two words of four, and resolves with its id when both have come. */
async function halfOf(replica: Replica, way: { background: boolean }) {
  const gate = gated(['one', ' two', ' three', ' four'])
  upstream.next(gate.behaviour)
  // The role, and two words.
  gate.release(3)
  const events = await replica.client().responses.create({ model, input: 'long', stream: true, ...way })
  let id = ''
  let words = 0
  const iterator = events[Symbol.asyncIterator]()
  while (words < 2) {
    const { value } = await iterator.next()
    if (value?.type === 'response.created') id = value.response.id
    if (value?.type === 'response.output_text.delta') words += 1
  }
  return { id, gate, rest: iterator.next() }
}

t.test('a response whose process is gone ends as failed on the other one', async (t) => {
  const redis = await startRedis(t)
  const store = { kind: 'redis', url: redis.url }
  const [killed, witness] = await startReplicas(t, upstream, { store }, { lifeMs })
  const [paused, other] = await startReplicas(t, upstream, { store }, { lifeMs })
  const streamed = await halfOf(killed, { background: false })
  const background = await halfOf(killed, { background: true })
  const stalled = await halfOf(paused, { background: true })
  const clients = [streamed, background].map(({ rest }) => t.rejects(rest, 'its client is told that the stream broke'))
  const following = eventsOf(witness, background.id)

  const startedAt = performance.now()
  killed.process.kill('SIGKILL')
  paused.process.kill('SIGSTOP')
  await Promise.all(clients)
  for (const { id } of [streamed, background, stalled]) {
    t.match(await witness.client().responses.retrieve(id), { status: 'in_progress' }, 'it may yet come back')
  }
  const ends = await Promise.all([ended(witness, streamed.id), ended(witness, background.id), ended(other, stalled.id)])
  const took = Math.round(performance.now() - startedAt)
  t.ok(took < deathMs, `after ${took} ms`)

  const failed = {
    status: 'failed',
    error: { code: 'server_error', message: 'the process that made this response is gone' },
  }
  const logs = await Promise.all(ends.map(({ id }) => eventsOf(witness, id)))
  for (const [n, { output_text, ...response }] of ends.entries()) {
    t.match(response, failed)
    t.equal(output_text, 'one two')
    assertSchema('Response', response)
    const events = logs[n] ?? []
    t.strictSame(
      events.map(({ sequence_number }) => sequence_number),
      events.map((_, index) => index),
    )
    const text = events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')
    t.equal(text, 'one two')
    t.match(events.slice(-2), [
      { type: 'error', code: 'response_interrupted' },
      { type: 'response.failed', response: { id: response.id, ...failed } },
    ])
  }
  t.strictSame(await following, logs[1], 'who followed it all the time has seen the same')

  // The one that only stood still goes on, and finds that it is too late.
  const asked = upstream.requests.at(-1)
  paused.process.kill('SIGCONT')
  stalled.gate.release(100)
  await asked?.closed
  await stalled.rest.catch(() => undefined)
  for (const replica of [paused, other, witness]) {
    // One that has just been woken may still give up what it asked of Redis before it stood still: a 503, which clients retry.
    const client = replica.client({ maxRetries: 5 })
    t.match(await client.responses.retrieve(stalled.id), { ...failed, output_text: 'one two' })
    t.strictSame(await eventsOf(replica, stalled.id), logs[2])
  }
})

for (const stream of [false, true]) {
  t.test(
    `a turn${stream ? ', streamed,' : ''} that is paused for longer than its lease is answered, and not kept`,
    async (t) => {
      const redis = await startRedis(t)
      const store = { kind: 'redis', url: redis.url, leaseTime: '1s' }
      const [one, other] = await startReplicas(t, upstream, { store })
      const post = (replica: Replica, content: string) =>
        fetch(`${replica.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-conversation-id': 'c1' },
          body: JSON.stringify({ model: 'helper', stream, messages: [{ role: 'user', content }] }),
        })
      const thawed = Promise.withResolvers<void>()
      const slow: Behaviour = async (request, exchange) => {
        await thawed.promise
        await completion()(request, exchange)
      }
      await (await post(one, 'before')).text()

      upstream.next(slow)
      const late = post(one, 'late')
      await upstream.request(1)
      one.process.kill('SIGSTOP')
      const quick = await post(other, 'quick')
      t.match(await quick.text(), /quick/)
      t.equal(quick.headers.get('x-signalbox-warning'), null)
      one.process.kill('SIGCONT')
      thawed.resolve()

      const answer = await late
      const text = await answer.text()
      t.equal(answer.status, 200)
      t.match(text, stream ? /data: \[DONE\]\n\n$/ : /You said: late/)
      t.match(stream ? text : answer.headers.get('x-signalbox-warning'), /the conversation could not be saved/)

      for (const replica of [one, other]) await (await post(replica, 'after')).text()
      t.strictSame(
        messagesOf(upstream.last()).map(({ content }) => content),
        ['before', 'quick', 'after'].flatMap((content) => [content, `You said: ${content}`]).concat('after'),
      )
    },
  )
}
