import {
  type Attributes,
  type Context,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'

/** A span that others have for their parent. */
export interface Scope {
  span: Span
  context: Context
}

/** Makes the spans of one request. All their times are of one clock, finer than the wall's: they can be compared. */
export class SpanMaker {
  readonly #tracer: Tracer
  readonly #epoch = Date.now() - performance.now()

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  /** In milliseconds since 1970. */
  now(): number {
    return this.at(performance.now())
  }

  /** In milliseconds since 1970, of a moment of `performance.now()`. */
  at(moment: number): number {
    return this.#epoch + moment
  }

  open(
    name: string,
    parent: Context,
    attributes: Attributes,
    kind: SpanKind = SpanKind.INTERNAL,
    startTime: number = this.now(),
  ): Scope {
    const span = this.#tracer.startSpan(name, { kind, attributes, startTime }, parent)
    return { span, context: trace.setSpan(parent, span) }
  }

  /** Of something that is over already. An outcome that is not `ok` is its `error.type`. */
  past(name: string, parent: Context, attributes: Attributes, what: { outcome: string; durationMs: number }): void {
    const { outcome, durationMs } = what
    const end = this.now()
    const { span } = this.open(name, parent, attributes, SpanKind.INTERNAL, end - durationMs)
    if (outcome === 'aborted') span.setAttribute('signalbox.outcome', outcome)
    else if (outcome !== 'ok') span.setAttribute('error.type', outcome).setStatus({ code: SpanStatusCode.ERROR })
    span.end(end)
  }
}
