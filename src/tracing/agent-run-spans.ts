import { type Attributes, type Context, SpanStatusCode } from '@opentelemetry/api'
import type { Scope, SpanMaker } from './span-maker.ts'

/**
 * The spans of an agent's run: the agent's, and below it that of the step that it is at. Nobody tells when a step is over: it is
 * when the last thing in it was.
 */
export class AgentRunSpans {
  readonly #maker: SpanMaker
  readonly #agent: Scope
  #step: Scope | undefined
  #busyUntil: number

  constructor(maker: SpanMaker, parent: Context, name: string, attributes: Attributes) {
    this.#maker = maker
    this.#agent = maker.open(`invoke_agent ${name}`, parent, {
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.agent.name': name,
      ...attributes,
    })
    this.#busyUntil = maker.now()
  }

  /** The parent of what is done now. */
  get context(): Context {
    return (this.#step ?? this.#agent).context
  }

  begin(step: number): void {
    this.#endStep()
    this.#step = this.#maker.open(`step ${step}`, this.#agent.context, { 'signalbox.agent.step': step })
    this.#busyUntil = this.#maker.now()
  }

  /** Something in it is over. */
  touch(): void {
    this.#busyUntil = this.#maker.now()
  }

  /** @param errorType What it failed with, if it did; so did its last step. */
  end(errorType?: string): void {
    this.#endStep(errorType)
    this.#close(this.#agent, errorType)
  }

  #endStep(errorType?: string): void {
    if (this.#step) this.#close(this.#step, errorType)
    this.#step = undefined
  }

  #close({ span }: Scope, errorType: string | undefined): void {
    if (errorType !== undefined) span.setAttribute('error.type', errorType).setStatus({ code: SpanStatusCode.ERROR })
    span.end(this.#busyUntil)
  }
}
