import t from 'tap'
import { type ChatCompletionChunk, GatewayError, type LLMClient, plan } from '../../src/index.ts'
import { isRoleOnly } from '../../src/router/prelude.ts'
import { failureOf, fake, request } from './clients.ts'

const chunk = (delta: object, more: object = {}): ChatCompletionChunk => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 0,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: null }],
  ...more,
})
const role = chunk({ role: 'assistant', content: '' })
const broken = new GatewayError('upstream_connection_lost', 'broken')

/** A target that streams these chunks, and then fails if there is an error. */
const streaming = (chunks: Iterable<ChatCompletionChunk>, error?: Error): LLMClient => ({
  ...fake('first').client,
  async *stream() {
    yield* chunks
    if (error) throw error
  },
})

/** The chunks that come from a plan of this target and another one, and whether that was asked. */
async function read(
  client: LLMClient,
  most = 100,
): Promise<{ chunks: ChatCompletionChunk[]; asked: number; error?: unknown }> {
  const other = fake('other')
  const chunks: ChatCompletionChunk[] = []
  const stream = plan({ targets: [{ client }, { client: other.client, priority: 1 }] }).stream(request)
  const error = await failureOf(async () => {
    for await (const each of stream) if (chunks.push(each) >= most) break
  })
  return { chunks, asked: other.asked, error }
}

t.test('what comes before the first word is held back, and lost when another target is asked', async (t) => {
  const { chunks, asked, error } = await read(streaming([role, role], broken))
  t.equal(asked, 1)
  t.notOk(chunks.includes(role))
  t.equal(error, undefined)
})

t.test('it comes all the same, in its order, before the first word, or at the end', async (t) => {
  const word = chunk({ content: 'a' })
  t.strictSame(await read(streaming([role, role, word, role])), {
    chunks: [role, role, word, role],
    asked: 0,
    error: undefined,
  })
  t.strictSame(await read(streaming([role])), { chunks: [role], asked: 0, error: undefined })
  t.strictSame(await read(streaming([])), { chunks: [], asked: 0, error: undefined })
  t.strictSame(await read(streaming([role, word], broken)), { chunks: [role, word], asked: 0, error: broken })
})

t.test('no more is held back than any provider sends', async (t) => {
  function* forever(): Generator<ChatCompletionChunk> {
    for (;;) yield role
  }
  t.equal((await read(streaming(forever()), 40)).chunks.length, 40)
})

t.test('what says nothing yet', async (t) => {
  for (const delta of [
    {},
    { role: 'assistant' },
    { role: 'assistant', content: null, refusal: null },
    { content: '' },
  ]) {
    t.ok(isRoleOnly(chunk(delta)), JSON.stringify(delta))
  }
  t.ok(isRoleOnly(chunk({}, { choices: [] })), 'what a content filter says of the prompt')
  for (const delta of [{ content: 'a' }, { reasoning_content: 'Hm' }, { tool_calls: [] }, { unheard_of: 1 }]) {
    t.notOk(isRoleOnly(chunk(delta)), JSON.stringify(delta))
  }
  t.notOk(isRoleOnly(chunk({}, { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })))
  t.notOk(isRoleOnly(chunk({}, { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })))
})

t.test('who leaves before the first piece ends it, and no other target is asked', async (t) => {
  const { promise: left, resolve: leave } = Promise.withResolvers<void>()
  const pending = Promise.withResolvers<IteratorResult<ChatCompletionChunk>>()
  const waiting: LLMClient = {
    ...fake('waiting').client,
    stream: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => pending.promise,
        async return() {
          leave()
          return { done: true, value: undefined }
        },
      }),
    }),
  }
  const other = fake('other')
  const stream = plan({ targets: [{ client: waiting }, { client: other.client, priority: 1 }] })
    .stream(request)
    [Symbol.asyncIterator]()
  const first = stream.next()
  await stream.return?.()
  await left
  pending.reject(broken)
  t.match(await first, { done: true })
  t.match(await stream.next(), { done: true })
  t.equal(other.asked, 0)
})
