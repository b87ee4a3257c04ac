/**
 * Signalbox as it is deployed: the whole app, from a configuration. `BENCH_LOG=info` writes one line per request, `BENCH_METRICS=on`
 * counts, `BENCH_SERVER` is its section `server`; with an OTLP endpoint every request is traced.
 */
import '../src/tick-shape.ts' // as main.ts
import pino from 'pino'
import { buildApp } from '../src/app.ts'
import { collectGarbage } from '../src/collect-garbage.ts'
import { parseConfig } from '../src/config/load.ts'
import { logDestination } from '../src/log-destination.ts'
import { serveMeasured } from './measured.ts'

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
const logger = pino({ level: BENCH_LOG }, logDestination('/dev/null'))
const app = await buildApp({ config, logger })
collectGarbage() // as main.ts
await serveMeasured(app)
