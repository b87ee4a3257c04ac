import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

/** Spans; where they go is said by the variables of OpenTelemetry. */
export const TracingConfig = Type.Object(
  {
    enabled: Type.Optional(
      Type.Boolean({
        description:
          'Trace every request. Default: when `OTEL_EXPORTER_OTLP_ENDPOINT`, its `_TRACES_` form or `OTEL_TRACES_EXPORTER` is set.',
      }),
    ),
    propagate: Type.Boolean({ default: true, description: 'Send `traceparent` and `tracestate` to providers.' }),
    content: Type.Boolean({
      default: false,
      description: 'Put what was said to models, and what they said, into traces.',
    }),
    flushTimeout: Duration('The end of the gateway waits this long for a collector.', '3s'),
  },
  { ...options, default: {} },
)
