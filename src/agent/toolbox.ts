import { Compile, type Validator } from 'typebox/schema'
import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import type { CallOptions, ChatMessage, ChatRequest, ToolReport } from '../types.ts'
import { argumentsIn } from './arguments-in.ts'
import { type AgentTool, assertTool, type ToolContext } from './tool.ts'

type ToolDefinition = Extract<NonNullable<ChatRequest['tools']>[number], { type: 'function' }>
export type ToolCall = NonNullable<Extract<ChatMessage, { role: 'assistant' }>['tool_calls']>[number]
type ToolMessage = Extract<ChatMessage, { role: 'tool' }>

/** Asked with parsed and checked arguments before a tool runs. May throw, which ends the run. */
export type BeforeTool = (tool: string, args: unknown, call: CallOptions) => Promise<void>

const defaultTimeoutMs = 30_000
const defaultMaxResultBytes = 65_536
const longestComplaint = 2000

/** What the model is told went wrong. */
class ToolFailure extends Error {
  readonly outcome: ToolReport['outcome']
  constructor(outcome: ToolReport['outcome'], message: string) {
    super(message)
    this.outcome = outcome
  }
}

interface Work {
  tool: AgentTool
  args: unknown
}

/** A call, and either what there is to do or why it cannot be done. */
interface PreparedCall {
  id: string
  name: string
  work?: Work
  error?: unknown
}

/** The tools that the gateway itself runs, by name. */
export class Toolbox {
  /** As a request offers them to the model. */
  readonly definitions: readonly ToolDefinition[]
  readonly #tools: ReadonlyMap<string, { tool: AgentTool; validator: Validator | undefined }>
  readonly #before: BeforeTool | undefined

  /** @throws TypeError naming the tool that is ill-formed, or the name that two of them have */
  constructor(tools: readonly AgentTool[], before?: BeforeTool) {
    const byName = new Map<string, { tool: AgentTool; validator: Validator | undefined }>()
    for (const tool of tools) {
      assertTool(tool)
      if (byName.has(tool.name)) throw new TypeError(`two tools are named "${tool.name}"`)
      byName.set(tool.name, { tool, validator: tool.parameters && Compile(tool.parameters) })
    }
    this.#tools = byName
    this.#before = before
    this.definitions = tools.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(description === undefined ? {} : { description }),
        parameters: { ...(parameters ?? { type: 'object', properties: {} }) },
        ...(strict === undefined ? {} : { strict }),
      },
    }))
  }

  has(name: string): boolean {
    return this.#tools.has(name)
  }

  /**
   * Runs calls at the same time and answers, in their order, with what the model is told: the result, or what went wrong.
   * None runs before all have been checked.
   *
   * @throws GatewayError when the client has left, and whatever `before` throws
   */
  async run(calls: readonly ToolCall[], call: CallOptions): Promise<ToolMessage[]> {
    const prepared = calls.map((toolCall) => this.#prepare(toolCall))
    for (const { name, work } of prepared) if (work) await this.#before?.(name, work.args, call)
    return Promise.all(prepared.map((each) => this.#answer(each, call)))
  }

  #prepare(toolCall: ToolCall): PreparedCall {
    const { id } = toolCall
    const name = nameOf(toolCall)
    try {
      const { tool, validator } = this.#tools.get(name) ?? {}
      if (!tool) throw new ToolFailure('unknown_tool', `there is no tool "${name}"`)
      const text: unknown = 'function' in toolCall ? toolCall.function.arguments : ''
      const args = argumentsIn(text)
      if (!args) {
        throw new ToolFailure('invalid_arguments', `the arguments are not a JSON object: ${String(text).slice(0, 500)}`)
      }
      if (validator) assertFits(args, validator)
      return { id, name, work: { tool, args } }
    } catch (error) {
      if (error instanceof ToolFailure) return { id, name, error }
      // A schema that recurs meets arguments that are too deep for it, or refers to what is not there.
      return {
        id,
        name,
        error: new ToolFailure('invalid_arguments', `the arguments cannot be checked: ${told(error)}`),
      }
    }
  }

  async #answer({ id, name, work, error }: PreparedCall, call: CallOptions): Promise<ToolMessage> {
    const startedAt = performance.now()
    const report = (outcome: ToolReport['outcome']): void =>
      call.onTool?.({ tool: this.has(name) ? name : '_other', outcome, durationMs: performance.now() - startedAt })
    const answer = (content: string): ToolMessage => ({ role: 'tool', tool_call_id: id, content })
    try {
      if (!work) throw error
      const content = await resultOf(work, call)
      report('ok')
      return answer(content)
    } catch (error) {
      if (call.signal?.aborted) {
        report('aborted')
        throw abortedCall(call.signal.reason)
      }
      if (!(error instanceof ToolFailure)) throw error
      report(error.outcome)
      return answer(`Error: ${error.message.slice(0, longestComplaint)}`.toWellFormed())
    }
  }
}

async function resultOf({ tool, args }: Work, call: CallOptions): Promise<string> {
  // It may have left while the guardrails were asked.
  if (call.signal?.aborted) throw new ToolFailure('aborted', 'the client has left')
  const { timeoutMs = defaultTimeoutMs, maxResultBytes = defaultMaxResultBytes } = tool
  const text = textOf(await within(timeoutMs, call, (signal) => execute(tool, args, contextOf(call, signal))))
  const bytes = Buffer.byteLength(text)
  if (bytes <= maxResultBytes) return text
  throw new ToolFailure('too_large', `the result is too large: ${bytes} bytes, and at most ${maxResultBytes} may be`)
}

function assertFits(args: unknown, validator: Validator): void {
  if (validator.Check(args)) return
  const [, errors] = validator.Errors(args)
  const problems = errors.map(({ instancePath, message }) => `${instancePath || 'they'} ${message}`)
  throw new ToolFailure('invalid_arguments', `the arguments do not fit the schema: ${problems.join('; ')}`)
}

/** @throws GatewayError for a call that names no tool */
export function nameOf(call: ToolCall): string {
  const name: unknown = 'function' in call ? call.function?.name : call.custom?.name
  if (typeof name === 'string') return name
  throw new GatewayError('upstream_malformed', 'the upstream provider sent a tool call without a name')
}

async function execute(tool: AgentTool, args: unknown, context: ToolContext): Promise<unknown> {
  try {
    return await tool.execute(args as never, context)
  } catch (error) {
    throw new ToolFailure('failed', told(error))
  }
}

function contextOf({ requestId, userId = null, conversationId }: CallOptions, signal: AbortSignal): ToolContext {
  return { signal, requestId, userId, conversationId }
}

/** A tool that does not listen to its signal is left behind: the run goes on without it. */
async function within<T>(ms: number, { signal }: CallOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const { promise: over, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => {
    controller.abort(signal?.reason)
    reject(new ToolFailure('aborted', 'the client has left'))
  }
  const timer = setTimeout(() => {
    const failure = new ToolFailure('timeout', `the tool did not finish within ${ms} ms`)
    controller.abort(failure)
    reject(failure)
  }, ms)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([over, work(controller.signal)])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

function textOf(result: unknown): string {
  if (typeof result === 'string') return result.toWellFormed()
  try {
    return JSON.stringify(result) ?? 'null'
  } catch (error) {
    throw new ToolFailure('failed', `the result is not JSON: ${told(error)}`)
  }
}

/** Anything can be thrown, also what cannot be told. */
function told(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error) || 'it failed'
  } catch {
    return 'it failed'
  }
}
