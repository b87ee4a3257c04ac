import type { Endpoint } from './context.ts'

/** `GET /health`: the process is alive. */
export const health: Endpoint = (exchange) => exchange.json(200, { status: 'ok' })

/** `GET /ready`: whether this process wants traffic; 503 with the reasons when not. */
export const ready: Endpoint = async (exchange, { readiness }) => {
  const report = await readiness.report()
  return exchange.json(report.status === 'ready' ? 200 : 503, report)
}
