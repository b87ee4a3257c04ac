import { context, DiagLogLevel, diag, logs, propagation, type Tracer, trace } from '@opentelemetry/api'
import type { Environment } from '../env.ts'
import type { RequestContexts } from './request-contexts.ts'

export interface SDKOptions {
  contexts: RequestContexts
  env: Environment
  /** Hears why traces cannot be exported, each time. */
  onWarning(message: string): void
}

/** OpenTelemetry's SDK, running. */
export interface SDK {
  tracer: Tracer
  /** Sends what is left, for at most that long, and stops. */
  close(timeoutMs: number): Promise<void>
}

/**
 * Loads and starts the SDK, for traces only. Where they go, in which protocol, which of them, and under which name, it reads from
 * the `OTEL_*` variables by itself. It is one for the whole process, as OpenTelemetry has it.
 */
export async function startSDK({ contexts, env, onWarning }: SDKOptions): Promise<SDK> {
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  const sdk = new NodeSDK({
    contextManager: contexts,
    metricReaders: [],
    logRecordProcessors: [],
    ...(hasServiceName(env) ? {} : { serviceName: 'signalbox' }),
  })
  const ignore = (): void => {}
  const warn = (message: string): void => onWarning(reasonOf(message))
  // After the SDK was made, which would otherwise write to the console when OTEL_LOG_LEVEL says so.
  const logger = { error: warn, warn, info: ignore, debug: ignore, verbose: ignore }
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  sdk.start()
  return {
    tracer: trace.getTracer('signalbox'),
    async close(timeoutMs) {
      const { promise: tooLate, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, timeoutMs)
      await Promise.race([tooLate, sdk.shutdown().catch((error: unknown) => warn(String(error)))])
      clearTimeout(timer)
      for (const api of [trace, context, propagation, logs, diag]) api.disable()
    },
  }
}

const hasServiceName = ({ OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES }: Environment): boolean =>
  Boolean(OTEL_SERVICE_NAME) || /(^|,)\s*service\.name\s*=/.test(OTEL_RESOURCE_ATTRIBUTES ?? '')

/** The SDK tells an error as JSON, with its stack and with what a collector has answered: the message will do. */
function reasonOf(message: string): string {
  try {
    const { name, message: reason, code }: Record<string, unknown> = JSON.parse(message)
    return [name, code, reason].filter(Boolean).join(': ')
  } catch {
    return message
  }
}
