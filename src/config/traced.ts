import type { Environment } from '../env.ts'

/** Variables that say where traces go: who sets one wants them. */
const destinations = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_TRACES_EXPORTER']

/** Whether requests are traced: as configured, otherwise when the environment names a destination; never where it says no. */
export function isTraced(configured: boolean | undefined, env: Environment): boolean {
  const isOff = env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER?.trim() === 'none'
  return !isOff && (configured ?? destinations.some((name) => Boolean(env[name])))
}
