import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseConfig } from '../../src/config/load.ts'

const parse = (text: string) => parseConfig(text, 'the test', {})
const all = '{ requestsPerMinute: 1, tokensPerMinute: 2, concurrentRequests: 3, usdPerDay: 0.5, usdPerMonth: 10 }'

t.test('keys, models, agents and the gateway may have every limit', async (t) => {
  const { auth, models, agents, limits } = parse(`
auth: { keys: [{ key: sk-12345678, limits: ${all} }] }
providers: { lab: { kind: openai-compatible, baseURL: "http://x/v1" } }
models: { fast: { targets: [{ model: lab/m }], limits: ${all} } }
agents: { helper: { model: fast, limits: ${all} } }
limits: ${all}`)
  const expected = { requestsPerMinute: 1, tokensPerMinute: 2, concurrentRequests: 3, usdPerDay: 0.5, usdPerMonth: 10 }
  for (const found of [auth?.keys?.[0]?.limits, models?.fast?.limits, agents.helper?.limits, limits]) {
    t.match(found, expected)
  }
})

t.test('without any, each would be kept by the process itself while the store is away', async (t) => {
  t.strictSame(parse('').limits, {
    whenStoreIsDown: { requests: 'local', tokens: 'local', concurrency: 'local', budgets: 'local' },
    localShare: 1,
    outputTokens: 1024,
    countUsage: false,
  })
})

t.test('what is no limit is refused', async (t) => {
  for (const wrong of [
    'requestsPerMinute: 0',
    'tokensPerMinute: 1.5',
    'usdPerDay: 0',
    'usdPerMonth: -1',
    'requestPerMinute: 5',
    'localShare: 0',
    'localShare: 2',
    'whenStoreIsDown: { budgets: open }',
  ]) {
    t.throws(() => parse(`limits: { ${wrong} }`), ConfigError, wrong)
  }
})
