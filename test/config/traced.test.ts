import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { Environment } from '../../src/env.ts'

const isTraced = (text: string, env: Environment): boolean | undefined => parseConfig(text, 'test', env).tracing.enabled

t.test('requests are traced when the environment says where to', async (t) => {
  t.equal(isTraced('', {}), false)
  for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
    t.equal(isTraced('', { [name]: 'http://collector:4318' }), true, name)
    t.equal(isTraced('', { [name]: '' }), false, 'empty is not set')
  }
  t.equal(isTraced('', { OTEL_TRACES_EXPORTER: 'console' }), true)
  t.equal(isTraced('', { OTEL_SERVICE_NAME: 'gateway' }), false)
})

t.test('the configuration has the last word, unless OpenTelemetry is switched off', async (t) => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
  t.equal(isTraced('tracing: { enabled: false }', env), false)
  t.equal(isTraced('tracing: { enabled: true }', {}), true)
  for (const off of [{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }]) {
    t.equal(isTraced('', { ...env, ...off }), false)
    t.equal(isTraced('tracing: { enabled: true }', { ...env, ...off }), false)
  }
  t.equal(isTraced('', { ...env, OTEL_SDK_DISABLED: 'false' }), true)
})
