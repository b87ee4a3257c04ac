import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isObject } from '../json.ts'
import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  ChunkDelta,
  LLMClient,
  Usage,
} from '../types.ts'
import { observed } from './observed.ts'
import { abortedCall } from './upstream-errors.ts'

export interface DemoOptions {
  /** Pause between two streamed tokens, in milliseconds, so that streaming can be seen. Default 20. */
  pace?: number
}

type ToolCall = { id: string; type: 'function'; function: { name: string; arguments: string } }
type Answer = { content: string } | { tool: ToolCall }

/**
 * A local stand-in for a model, so that the gateway runs with no key at all. It echoes the last message, says that it is
 * the demo, calls a tool when asked to, and counts words as tokens.
 */
export function createDemo({ pace = 20 }: DemoOptions = {}): LLMClient {
  return observed({
    provider: 'demo',
    model: 'echo',

    async complete(request, call): Promise<ChatCompletion> {
      call?.onAsk?.(request)
      const answer = answerTo(request)
      const message = 'tool' in answer ? { content: null, tool_calls: [answer.tool] } : { content: answer.content }
      return {
        ...identity(),
        object: 'chat.completion',
        choices: [
          {
            index: 0,
            message: { role: 'assistant', refusal: null, ...message },
            logprobs: null,
            finish_reason: finishReason(answer),
          },
        ],
        usage: usageOf(request, answer),
      }
    },

    async *stream(request: ChatRequest, call: CallOptions = {}): AsyncGenerator<ChatCompletionChunk> {
      call.onAsk?.(request)
      const answer = answerTo(request)
      const wantsUsage = request.stream_options?.include_usage === true
      const head = { ...identity(), object: 'chat.completion.chunk' as const, ...(wantsUsage ? { usage: null } : {}) }
      const chunk = (delta: ChunkDelta, finish_reason: 'stop' | 'tool_calls' | null = null): ChatCompletionChunk => ({
        ...head,
        choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      })

      yield chunk({ role: 'assistant', content: 'tool' in answer ? null : '', refusal: null })
      if ('tool' in answer) {
        yield chunk({ tool_calls: [{ index: 0, ...answer.tool }] })
      } else {
        for (const content of tokensOf(answer.content)) {
          await pause(pace, call.signal)
          yield chunk({ content })
        }
      }
      yield chunk({}, finishReason(answer))
      if (wantsUsage) yield { ...head, choices: [], usage: usageOf(request, answer) }
    },
  })
}

const identity = () => ({
  id: `chatcmpl-demo-${randomUUID()}`,
  created: Math.floor(Date.now() / 1000),
  model: 'echo',
  system_fingerprint: 'signalbox-demo',
})

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => {
    throw abortedCall(signal?.reason)
  })
}

function answerTo(request: ChatRequest): Answer {
  const last = request.messages.at(-1)
  const text = textOf(last?.content)
  if (last?.role === 'tool') return { content: `[demo/echo] The tool answered: ${text}` }
  const tool = toolFor(request, text)
  if (tool) return { tool }
  return { content: `[demo/echo] You said: ${text}` }
}

/** A tool is called when the request demands one, or when the user names it. */
function toolFor(request: ChatRequest, text: string): ToolCall | undefined {
  const choice = request.tool_choice
  if (choice === 'none') return undefined
  const functions = (request.tools ?? []).flatMap((tool) =>
    tool.type === 'function' && typeof tool.function?.name === 'string' ? [tool.function] : [],
  )
  const named =
    typeof choice === 'object' && choice !== null && 'function' in choice ? choice.function?.name : undefined
  const chosen =
    functions.find(({ name }) => name === named) ??
    functions.find(({ name }) => text.includes(name)) ??
    (choice === 'required' ? functions[0] : undefined)
  if (!chosen) return undefined
  const args = JSON.stringify(exampleArguments(chosen.parameters, text))
  return { id: `call_${randomUUID()}`, type: 'function', function: { name: chosen.name, arguments: args } }
}

/** The required properties, each with the plainest value of its type. */
function exampleArguments(schema: unknown, text: string): Record<string, unknown> {
  if (!isObject(schema) || !isObject(schema.properties)) return {}
  const { properties } = schema
  const required = Array.isArray(schema.required) ? schema.required : []
  const values: Record<string, unknown> = { string: text, number: 1, integer: 1, boolean: true, array: [], object: {} }
  return Object.fromEntries(
    required
      .filter((name) => typeof name === 'string' && isObject(properties[name]))
      .map((name: string) => {
        const property = properties[name] as Record<string, unknown>
        const example = Array.isArray(property.enum) ? property.enum[0] : values[String(property.type)]
        return [name, example ?? null]
      }),
  )
}

/** The text of a message's content, whether it is a string or a list of parts. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.flatMap((part) => (isObject(part) && typeof part.text === 'string' ? [part.text] : [])).join(' ')
}

/** Words with the white space that follows them: joined, they are the text again. */
const tokensOf = (text: string): string[] => text.match(/\s*\S+|\s+$/g) ?? []

const finishReason = (answer: Answer): 'stop' | 'tool_calls' => ('tool' in answer ? 'tool_calls' : 'stop')

function usageOf(request: ChatRequest, answer: Answer): Usage {
  const prompt_tokens = request.messages.reduce((sum, { content }) => sum + tokensOf(textOf(content)).length, 0)
  const completion_tokens = tokensOf('tool' in answer ? answer.tool.function.arguments : answer.content).length
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}
