import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { collectGarbage } from '../src/collect-garbage.ts'
import { runGateway } from './process.ts'

t.test('what a gateway needs only sometimes is not loaded at its start', async (t) => {
  const cwd = t.testdir({
    'signalbox.yaml': `
      providers: { lab: { kind: openai-compatible, baseURL: 'http://127.0.0.1:9/v1' } }
      models: { m: { targets: [{ model: lab/m }] } }
    `,
  })
  const gateway = await runGateway(t, {
    cwd,
    env: { NODE_OPTIONS: `--import=${join(import.meta.dirname, 'loaded-modules.ts')}` },
  })
  gateway.process.kill('SIGWINCH')
  await gateway.process.says(/that is all/)
  const { stdout } = gateway.process
  t.match(stdout, /node_modules\/fastify\//)
  t.match(stdout, /node_modules\/undici\/lib\/dispatcher\/pool\.js/)
  for (const part of [
    'undici/lib/web',
    'ajv',
    '@fastify/fast-json-stringify-compiler',
    '@pydantic',
    'ioredis',
    '@ai-sdk/anthropic',
    'openai',
  ]) {
    t.notMatch(stdout, new RegExp(`node_modules/${part}/`), part)
  }
  for (const part of ['@opentelemetry/sdk-', '@fastify/swagger']) {
    t.notMatch(stdout, new RegExp(`node_modules/${part}`), part)
  }
})

t.test('the garbage of the start can be given back, and nobody gets a handle on that', async (t) => {
  let garbage: unknown[] | undefined = Array.from({ length: 500_000 }, (_, n) => ({ n }))
  t.equal(garbage.length, 500_000)
  garbage = undefined
  const before = process.memoryUsage()
  collectGarbage()
  const after = process.memoryUsage()
  t.ok(after.heapTotal < before.heapTotal - 10e6, `${before.heapTotal} -> ${after.heapTotal}`)
  t.equal(runInNewContext('typeof gc'), 'undefined')
})
