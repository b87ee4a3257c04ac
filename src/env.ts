/** The process environment. This is the only place that reads it; OpenTelemetry's SDK reads its own `OTEL_*` variables by itself. */
export type Environment = Readonly<Record<string, string | undefined>>

export const environment = (): Environment => process.env
