import { randomUUID } from 'node:crypto'
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
import type { Guardrail, GuardrailContext, Verdict } from './guardrail.ts'
import type { BeforeTool } from './toolbox.ts'
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
        for (const { message } of answer.choices) if (message.content) await checkOutput(message.content, call)
        return answer
      } catch (error) {
        const { stage, reason } = reportIn(error)
        return refusal(reason, request, answer ?? usageField(spent.usage(stage)))
      }
    },

    async *stream(request, call = {}) {
      const spent = spending(call)
      let head: ChatCompletionChunk | undefined
      try {
        await checkInput(request, call)
        const chunks = client.stream(request, spent.call)
        for await (const chunk of watchesOutput ? windows(chunks, (text) => checkOutput(text, call)) : chunks) {
          head ??= chunk
          yield chunk
        }
      } catch (error) {
        const { stage, reason } = reportIn(error)
        yield* refusalChunks(reason, request, head, spent.usage(stage))
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
  const verdicts = await Promise.all(guardrails.map(async (guardrail) => ask(guardrail, context)))
  for (const [index, verdict] of verdicts.entries()) {
    if (!isObject(verdict)) continue
    const guardrail = guardrails[index]?.name ?? ''
    const report = { guardrail, stage, reason: String(verdict.reason ?? 'stopped by a guardrail') }
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
      if (!delta?.content) continue
      unchecked += delta.content.length
      texts.set(index, (texts.get(index) ?? '') + delta.content)
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

const usageField = (usage: Usage | undefined) => (usage ? { usage } : {})

const headOf = (request: ChatRequest) => ({
  id: `chatcmpl-${randomUUID()}`,
  created: Math.floor(Date.now() / 1000),
  model: request.model,
})

/** The answer that a stopped turn ends with. */
function refusal(reason: string, request: ChatRequest, answer: Partial<ChatCompletion>): ChatCompletion {
  const message = { role: 'assistant' as const, content: null, refusal: reason }
  return {
    ...headOf(request),
    object: 'chat.completion',
    ...answer,
    choices: [{ index: 0, message, logprobs: null, finish_reason: 'content_filter' }],
  }
}

/** How a stopped stream ends: with the reason as a refusal. Nothing of what was held back goes out. */
function* refusalChunks(
  reason: string,
  request: ChatRequest,
  first: ChatCompletionChunk | undefined,
  usage: Usage | undefined,
): Generator<ChatCompletionChunk> {
  const wantsUsage = request.stream_options?.include_usage === true
  const { choices: _choices, ...head } = first ?? {
    ...headOf(request),
    object: 'chat.completion.chunk' as const,
    ...(wantsUsage ? { usage: null } : {}),
    choices: [],
  }
  const role = first ? {} : { role: 'assistant' as const, content: null }
  yield { ...head, choices: [{ index: 0, delta: { ...role, refusal: reason }, logprobs: null, finish_reason: null }] }
  yield { ...head, choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: 'content_filter' }] }
  if (wantsUsage && usage) yield { ...head, choices: [], usage }
}
