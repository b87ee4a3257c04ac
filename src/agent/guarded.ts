import { isObject } from '../json.ts'
import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  GuardrailReport,
  LLMClient,
  Target,
  Usage,
} from '../types.ts'
import { textIn } from './content.ts'
import type { Guardrail, GuardrailContext, Verdict } from './guardrail.ts'
import { RefusedStream, refusal } from './refusal.ts'
import type { BeforeTool } from './toolbox.ts'
import { unlessAborted } from './unless-aborted.ts'
import { sumUsage } from './usage-sum.ts'

/** Characters of a streamed answer that are held back until the guardrails have seen them. */
export const outputWindow = 200

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
          const text = textIn(message?.content)
          if (text) await checkOutput(text, call)
        }
        return answer
      } catch (error) {
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
        for await (const chunk of watchesOutput ? windows(chunks, (text) => checkOutput(text, call)) : chunks) {
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

/** Chunks wait until the text that they complete has been checked: at the end of every window, and before the end. */
async function* windows(
  chunks: AsyncIterable<ChatCompletionChunk>,
  checkText: (text: string) => Promise<void>,
): AsyncGenerator<ChatCompletionChunk> {
  const texts = new Map<number, string>()
  let held: ChatCompletionChunk[] = []
  let unchecked = 0
  for await (const chunk of chunks) {
    held.push(chunk)
    let isEnd = false
    for (const { index, delta, finish_reason } of chunk.choices ?? []) {
      if (finish_reason) isEnd = true
      const text = textIn(delta?.content)
      if (!text) continue
      unchecked += text.length
      texts.set(index, (texts.get(index) ?? '') + text)
    }
    if (unchecked > 0 && unchecked < outputWindow && !isEnd) continue
    if (unchecked > 0) for (const text of texts.values()) await checkText(text)
    unchecked = 0
    yield* held
    held = []
  }
  if (unchecked > 0) for (const text of texts.values()) await checkText(text)
  yield* held
}

/** Only a guardrail's word ends a turn: anything else is thrown again. */
function reportIn(error: unknown): GuardrailReport {
  if (error instanceof Tripped) return error.report
  throw error
}

/** Listens to what the steps of a run cost, for a turn that is stopped before they are summed. */
function spending(call: CallOptions) {
  const usages: (Usage | undefined)[] = []
  return {
    call: {
      ...call,
      onUsage: (usage: Usage | undefined, target: Target) => {
        usages.push(usage)
        call.onUsage?.(usage, target)
      },
    },
    /** Undefined when it is not known. */
    usage: (stage: GuardrailReport['stage']): Usage | undefined =>
      stage === 'input' ? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } : sumUsage(usages),
  }
}
