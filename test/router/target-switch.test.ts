import t from 'tap'
import { type CallOptions, createDemo, GatewayError, type LLMClient, weighted } from '../../src/index.ts'
import { configuredModels } from '../../src/router/configured-models.ts'
import { LiveModels } from '../../src/router/live-models.ts'
import { ModelRouter } from '../../src/router/model-router.ts'
import { TargetSwitch } from '../../src/router/target-switch.ts'
import { nameOf } from '../../src/target.ts'

const asking = (model: string) => ({ model, messages: [{ role: 'user' as const, content: 'hi' }] })

/** A client that does all that clients can. */
function able(name: string): LLMClient & { asked: number } {
  const demo = createDemo({ pace: 0 })
  const client = {
    provider: name,
    model: '*',
    asked: 0,
    complete(request: ReturnType<typeof asking>, call?: CallOptions) {
      client.asked++
      return demo.complete(request, call)
    },
    stream: demo.stream.bind(demo),
    embed: async ({ model }: { model: string }) => ({
      object: 'list' as const,
      data: [],
      model,
      usage: { prompt_tokens: 1, total_tokens: 1 },
    }),
    responses: {
      create: async () => ({ output: [] }),
      async *stream() {
        yield { type: 'response.completed' }
      },
    },
  }
  return client
}

const drained = (model: string) => ({
  name: 'GatewayError',
  code: 'target_drained',
  status: 503,
  message: RegExp(model),
})
const all = async (events: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of events);
}

t.test('a target that is out refuses whatever it is asked, and says so beforehand', async (t) => {
  const targets = new TargetSwitch()
  const client = targets.guarded(able('openai'), { provider: 'openai', model: 'small' })
  const request = asking('small')
  const everything = [
    () => client.complete(request),
    () => all(client.stream(request)),
    () => client.embed?.({ model: 'small', input: 'a' }),
    () => client.responses?.create({ model: 'small' }),
    async () => client.responses && all(client.responses.stream({ model: 'small' })),
  ] as (() => Promise<unknown>)[]
  for (const ask of everything) await t.resolves(ask())
  t.equal(client.unavailableMs?.(), undefined)

  targets.set(['openai/small'])
  for (const ask of everything) await t.rejects(ask(), drained('openai/small'))
  t.equal(client.unavailableMs?.(), 60_000)

  targets.set([])
  for (const ask of everything) await t.resolves(ask())
  t.equal(client.unavailableMs?.(), undefined)
})

t.test('a client is told when to ask again', async (t) => {
  const targets = new TargetSwitch()
  const client = targets.guarded(able('openai'), { provider: 'openai', model: 'small' })
  targets.set(['openai/small'])
  const error = await client.complete(asking('small')).catch((error: unknown) => error)
  t.equal(error instanceof GatewayError && error.headers['retry-after'], '60')
})

t.test('a provider is taken out as a whole, and of a wildcard one model', async (t) => {
  const targets = new TargetSwitch()
  const one = targets.guarded(able('openai'), { provider: 'openai', model: 'small' })
  const any = targets.guarded(able('openai'), { provider: 'openai', model: '*' })
  const other = targets.guarded(able('lab'), { provider: 'lab', model: 'small' })
  targets.set(['openai/*'])
  await t.rejects(one.complete(asking('small')), drained('openai/small'))
  await t.rejects(any.complete(asking('x')), drained('openai/x'))
  await t.resolves(other.complete(asking('small')))
  targets.set(['openai/a/b'])
  await t.rejects(any.complete(asking('a/b')), drained('openai/a/b'))
  await t.resolves(any.complete(asking('a')))
  t.equal(any.unavailableMs?.(), undefined, 'the wildcard itself takes requests')
})

t.test('what can be taken out', async (t) => {
  const targets = new TargetSwitch()
  const lab = { provider: 'lab', model: '*' }
  targets.know([{ provider: 'openai', model: 'small' }, lab])
  const has = (provider: string, model: string) => targets.has({ provider, model })
  t.strictSame(targets.targets, [
    { provider: 'openai', model: 'small' },
    { provider: 'lab', model: '*' },
  ])
  t.strictSame([has('openai', 'small'), has('openai', '*'), has('lab', '*'), has('lab', 'x')], [true, true, true, true])
  t.strictSame([has('openai', 'large'), has('nobody', '*')], [false, false])
  targets.know([lab])
  t.strictSame(targets.targets, [lab], 'what another configuration has not is not there any more')
  t.notOk(has('openai', 'small'))
})

t.test('a run that has begun ends there', async (t) => {
  const targets = new TargetSwitch()
  const client = targets.guarded(able('openai'), { provider: 'openai', model: 'small' })
  const run = {}
  await client.complete(asking('small'), { run })
  targets.set(['openai/small'])
  await t.resolves(client.complete(asking('small'), { run }))
  await t.rejects(client.complete(asking('small'), { run: {} }), drained('openai/small'))
})

t.test('a model with several targets goes on with the others; with none left it says so', async (t) => {
  const targets = new TargetSwitch()
  const [a, b, unused] = [able('a'), able('b'), able('c')]
  const guarded = (client: LLMClient) => targets.guarded(client, { provider: client.provider, model: 'm' })
  const model = weighted([
    { client: guarded(a), weight: 5 },
    { client: guarded(b) },
    { client: guarded(unused), weight: 0 },
  ])
  targets.set(['a/m'])
  for (let n = 0; n < 20; n++) await model.complete(asking('m'))
  t.strictSame([a.asked, b.asked, unused.asked], [0, 20, 0])
  t.equal(model.unavailableMs?.(), undefined)
  targets.set(['a/m', 'b/m'])
  await t.rejects(model.complete(asking('m')), { code: 'no_target_available', status: 503 })
  t.equal(model.unavailableMs?.(), 60_000)
  t.equal(unused.asked, 0)
})

t.test('the targets of the configuration, those of agents among them', async (t) => {
  const targetSwitch = new TargetSwitch()
  const lab = { kind: 'openai-compatible', baseURL: 'http://127.0.0.1:1/v1' }
  const models = configuredModels(
    {
      providers: { lab, other: lab },
      models: { fast: { targets: [{ model: 'lab/a' }, { model: 'other/b/c' }] } },
      agents: { helper: { model: 'lab/own' } },
    },
    { targetSwitch },
  )
  t.teardown(() => models.close())
  t.strictSame(models.targets.map(nameOf), ['lab/a', 'other/b/c', 'lab/own'])
  t.strictSame(configuredModels({ providers: {} }).targets, [{ provider: 'demo', model: 'echo' }])
})

t.test('what a reload has removed is not there any more, once it is in force', async (t) => {
  const targetSwitch = new TargetSwitch()
  const known = (): string[] => targetSwitch.targets.map(nameOf)
  const lab = { kind: 'openai-compatible', baseURL: 'http://127.0.0.1:1/v1' }
  const asking = (...models: string[]) => ({
    providers: { lab },
    models: { fast: { targets: models.map((model) => ({ model })) } },
  })
  const live = new LiveModels(new ModelRouter(), asking('lab/a', 'lab/b'), { targetSwitch })
  t.teardown(() => live.close())
  t.strictSame(known(), ['lab/a', 'lab/b'])
  live.prepare(asking('lab/x'), async () => {}).discard()
  const { commit } = live.prepare(asking('lab/b', 'lab/c'), async () => {})
  t.strictSame(known(), ['lab/a', 'lab/b'])
  commit()
  t.strictSame(known(), ['lab/b', 'lab/c'])
})
