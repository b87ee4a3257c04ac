import OpenAI from 'openai'
import t from 'tap'
import { startGateway } from '../gateway.ts'
import { assertSchema } from '../openapi.ts'
import { startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())
const gateway = await startGateway(t, { upstream })
const client = gateway.client()

const inputs: Record<string, OpenAI.EmbeddingCreateParams['input']> = {
  'a text': 'one text',
  'several texts': ['one text', '', 'é漢😀'],
  tokens: [1, 2, 3],
  'several lists of tokens': [[1, 2, 3], [4]],
}

for (const [name, input] of Object.entries(inputs)) {
  t.test(`the vectors of ${name} are the same as floats and in the base64 of the official client`, async (t) => {
    const floats = await client.embeddings.create({ model: 'openai/e', input, encoding_format: 'float' })
    t.strictSame(upstream.last().body, { model: 'e', input, encoding_format: 'float' })
    assertSchema('CreateEmbeddingResponse', floats)
    t.ok(floats.data.every(({ embedding }) => embedding.length === 8 && embedding.every(Number.isFinite)))

    const decoded = await client.embeddings.create({ model: 'openai/e', input })
    t.match(upstream.last().body, { encoding_format: 'base64' })
    t.strictSame(decoded.data, floats.data)
    t.strictSame(decoded.usage, floats.usage)
  })
}

t.test('base64 reaches a client that asks for it as it came from the upstream', async (t) => {
  const answer = await gateway.post('/v1/embeddings', { model: 'openai/e', input: 'a', encoding_format: 'base64' })
  const { data } = (await answer.json()) as { data: { embedding: string }[] }
  t.equal(Buffer.from(data[0]?.embedding ?? '', 'base64').length, 8 * 4)
})

t.test('every field reaches the upstream, and the answer comes back whole', async (t) => {
  const body = { model: 'openai/vendor/e:1', input: ['a'], dimensions: 16, user: 'u', x_vendor: { task: ['query'] } }
  const answer = await gateway.post('/v1/embeddings', body)
  t.equal(upstream.last().path, '/v1/embeddings')
  t.equal(upstream.last().rawBody, JSON.stringify({ ...body, model: 'vendor/e:1' }))
  t.match(await answer.json(), { object: 'list', model: 'vendor/e:1', data: [{ index: 0, embedding: { length: 16 } }] })

  const odd = { object: 'list', data: [], model: 'e', usage: { prompt_tokens: 0, total_tokens: 0 }, x_vendor: [null] }
  upstream.behave((_request, exchange) => exchange.json(200, odd))
  const second = await gateway.post('/v1/embeddings', body)
  t.equal(await second.text(), JSON.stringify(odd))
})

t.test('the tokens are accounted for', async (t) => {
  await client.embeddings.create({ model: 'openai/e', input: 'three little words' })
  t.match(gateway.requestLines().at(-1), {
    route: '/v1/embeddings',
    status: 200,
    model: 'openai/*',
    promptTokens: 3,
    completionTokens: 0,
  })
})

t.test('a model that makes none says so', async (t) => {
  const demo = await startGateway(t)
  const error = await t.rejects(demo.client().embeddings.create({ model: 'demo/echo', input: 'a' }))
  t.type(error, OpenAI.BadRequestError)
  t.match(error, { status: 400, code: 'unsupported', param: 'model', type: 'invalid_request_error' })
})
