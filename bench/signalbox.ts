/**
 * Signalbox as it is deployed: the whole app, built, from a configuration. `BENCH_LOG=info` writes one line per request, `BENCH_METRICS=on`
 * counts, `BENCH_SERVER` is its section `server`; with an OTLP endpoint every request is traced.
 */
import pino from 'pino'
import { serveMeasured } from './measured.ts'

const built = (file: string): Promise<unknown> => import(new URL(`../dist/src/${file}.js`, import.meta.url).href)
const { buildApp } = (await built('app')) as typeof import('../src/app.ts')
const { parseConfig } = (await built('config/load')) as typeof import('../src/config/load.ts')

const {
  BENCH_UPSTREAM,
  BENCH_KEY,
  BENCH_LOG = 'silent',
  BENCH_METRICS = 'off',
  BENCH_SERVER = '{}',
  ...env
} = process.env
const config = parseConfig(
  `
auth: { keys: [{ key: ${BENCH_KEY}, user: bench }] }
providers: { bench: { kind: openai-compatible, baseURL: '${BENCH_UPSTREAM}/v1', apiKey: upstream } }
models: { bench: { targets: [{ model: bench/bench }] } }
metrics: { enabled: ${BENCH_METRICS === 'on'} }
server: ${BENCH_SERVER}
`,
  'bench',
  { OTEL_EXPORTER_OTLP_ENDPOINT: env.OTEL_EXPORTER_OTLP_ENDPOINT },
)
const logger = pino({ level: BENCH_LOG }, pino.destination({ dest: '/dev/null', sync: false }))
await serveMeasured(await buildApp({ config, logger }))
