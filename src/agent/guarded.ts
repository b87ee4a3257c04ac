import { isObject } from '../json.ts'
import { targetOf } from '../target.ts'
import type { CallOptions, ChatCompletion, ChatRequest, GuardrailReport, LLMClient, Target, Usage } from '../types.ts'
import { checkedStream, shownText } from './checked-stream.ts'
import type { Guardrail, GuardrailContext, Verdict } from './guardrail.ts'
import { RefusedStream, refusal } from './refusal.ts'
import type { BeforeTool } from './toolbox.ts'
import { unlessAborted } from './unless-aborted.ts'
import { sumUsage } from './usage-sum.ts'

/** Ends a turn: a guardrail has stopped it. */
class Tripped extends Error {
  readonly report: GuardrailReport
  constructor(report: GuardrailReport) {
    super(`the guardrail "${report.guardrail}" stopped the turn`)
    this.report = report
  }
}

/** The guardrails' say on what tools are called with, for the client that {@link guarded} wraps. */
export const guardedTools =
  (guardrails: readonly Guardrail[]): BeforeTool =>
  (tool, args, call) =>
    check(guardrails, 'tool_input', call, ({ toolInput }, context) => toolInput?.({ tool, arguments: args }, context))

/** A client whose turns the guardrails may stop; see {@link Guardrail}. */
export function guarded(client: LLMClient, guardrails: readonly Guardrail[]): LLMClient {
  const checkInput = ({ messages }: ChatRequest, call: CallOptions): Promise<void> =>
    check(guardrails, 'input', call, ({ input }, context) => input?.(messages, context))
  const checkOutput = (text: string, call: CallOptions): Promise<void> =>
    check(guardrails, 'output', call, ({ output }, context) => output?.(text, context))
  const watchesOutput = guardrails.some(({ output }) => output)

  return {
    provider: client.provider,
    model: client.model,

    async complete(request, call = {}) {
      const spent = spending(call)
      let answer: ChatCompletion | undefined
      try {
        await checkInput(request, call)
        answer = await client.complete(request, spent.call)
        for (const { message } of answer.choices ?? []) {
          const text = shownText(message)
          if (text) await checkOutput(text, call)
        }
        return answer
      } catch (error) {
        if (answer && !(error instanceof Tripped)) spent.paid(answer.usage, targetOf(client, request))
        const { stage, reason } = reportIn(error)
        return refusal(reason, request, answer, spent.usage(stage))
      }
    },

    async *stream(request, call = {}) {
      const spent = spending(call)
      const refused = new RefusedStream(request)
      try {
        await checkInput(request, call)
        const chunks = client.stream(request, spent.call)
        for await (const chunk of watchesOutput ? checkedStream(chunks, (text) => checkOutput(text, call)) : chunks) {
          refused.sent(chunk)
          yield chunk
        }
      } catch (error) {
        const { stage, reason } = reportIn(error)
        yield* refused.end(reason, spent.usage(stage))
      }
    },

    close: async () => client.close?.(),
  }
}

/** @throws Tripped for the first, in their order, that stops the turn; whatever one of them throws */
async function check(
  guardrails: readonly Guardrail[],
  stage: GuardrailReport['stage'],
  call: CallOptions,
  ask: (guardrail: Guardrail, context: GuardrailContext) => Verdict | Promise<Verdict>,
): Promise<void> {
  const { signal, requestId, userId = null, conversationId } = call
  const context = { signal, requestId, userId, conversationId }
  const verdicts = await unlessAborted(signal, () =>
    Promise.all(guardrails.map(async (guardrail) => ask(guardrail, context))),
  )
  for (const [index, verdict] of verdicts.entries()) {
    if (!verdict) continue
    const guardrail = guardrails[index]?.name ?? ''
    // Whatever it means, it is not that all is well.
    if (!isObject(verdict)) throw new TypeError(`the guardrail "${guardrail}" must answer with { reason } or nothing`)
    const report = { guardrail, stage, reason: String(verdict.reason || 'stopped by a guardrail') }
    call.onGuardrail?.(report)
    throw new Tripped(report)
  }
}

/** Only a guardrail's word ends a turn: anything else is thrown again. */
function reportIn(error: unknown): GuardrailReport {
  if (error instanceof Tripped) return error.report
  throw error
}

/** Listens to what the steps of a run cost, for a turn that is stopped before they are summed. */
function spending(call: CallOptions) {
  const usages: (Usage | undefined)[] = []
  let target: Target | undefined
  const onUsage = (usage: Usage | undefined, of: Target): void => {
    usages.push(usage)
    call.onUsage?.(usage, of)
  }
  return {
    call: {
      ...call,
      onUsage,
      onTarget(chosen: Target) {
        target = chosen
        call.onTarget?.(chosen)
      },
    },
    /** An answer that was paid for and will not be seen, of a client that does not tell of its calls. */
    paid(usage: Usage | undefined, otherwise: Target): void {
      if (usages.length === 0) onUsage(usage, target ?? otherwise)
    },
    /** Undefined when it is not known. */
    usage: (stage: GuardrailReport['stage']): Usage | undefined =>
      stage === 'input' ? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } : sumUsage(usages),
  }
}
