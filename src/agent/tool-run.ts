import { isObject } from '../json.ts'
import { abortedCall } from '../llm/upstream-errors.ts'
import { GatewayError } from '../server/errors.ts'
import { targetOf } from '../target.ts'
import type { CallOptions, ChatMessage, ChatRequest, FinishReason, LLMClient, Target, Usage } from '../types.ts'
import type { AssistantMessage } from './message-collector.ts'
import { sendable, withOwnIds } from './own-calls.ts'
import { nameOf, type Toolbox, type ToolCall } from './toolbox.ts'
import { sumUsage } from './usage-sum.ts'

export interface ToolRunOptions {
  request: ChatRequest
  call: CallOptions
  client: LLMClient
  toolbox: Toolbox
  maxSteps: number
}

/** How a run ended, and the calls of the caller's own tools that it ended with. */
export interface RunEnd {
  finishReason: FinishReason
  calls: ToolCall[]
}

/** One request on its way through the steps of a run: what is asked next, what was used, what was said. */
export class ToolRun {
  /** For the client: with the run's own ear for what a step costs. */
  readonly call: CallOptions
  /** The answer is to be JSON: text that a step says beside its tool calls must not get into it. */
  readonly isJSON: boolean
  readonly #options: ToolRunOptions
  readonly #tools: NonNullable<ChatRequest['tools']>
  readonly #callersTools: ReadonlySet<string>
  readonly #turn: ChatMessage[] = []
  readonly #usages: (Usage | undefined)[] = []
  #target: Target
  #hides = false
  /** What the client itself has told of the step. */
  #heard: { usage?: true; turn?: readonly ChatMessage[] } = {}

  /** @throws GatewayError for a request that no run can serve */
  constructor(options: ToolRunOptions) {
    const { request, call, client, toolbox } = options
    this.#options = options
    // "none" is said of the tools that the caller knows.
    const callers = request.tool_choice === 'none' ? [] : (request.tools ?? [])
    this.#callersTools = new Set(callers.map((tool) => toolName(tool)))
    refuseImpossible(request, this.#callersTools, toolbox)
    this.#tools = [...toolbox.definitions, ...callers]
    this.isJSON = String(request.response_format?.type).startsWith('json')
    this.#target = targetOf(client, request)
    this.call = {
      ...call,
      run: call.run ?? this,
      onTarget: (target) => {
        this.#target = target
        call.onTarget?.(target)
      },
      // A client that is an agent itself tells of steps of its own.
      onUsage: (usage, target) => {
        this.#heard.usage = true
        call.onUsage?.(usage, target)
      },
      onTurn: (messages) => {
        this.#heard.turn = messages
      },
    }
  }

  /** What the model is asked next. */
  get request(): ChatRequest {
    const { request } = this.#options
    const { tool_choice, ...rest } = request
    return {
      ...rest,
      messages: [...request.messages, ...this.#turn],
      tools: this.#tools,
      ...this.#choice(tool_choice),
    } as ChatRequest
  }

  #choice(choice: ChatRequest['tool_choice']): Pick<ChatRequest, 'tool_choice'> {
    if (!choice || choice === 'none') return {}
    // What must be called is a tool of the caller's, and with that the run ends. Where there is none, once is enough.
    if (this.#callersTools.size === 0 && this.#usages.length > 0) return {}
    if (typeof choice !== 'object' || !('allowed_tools' in choice) || !isObject(choice.allowed_tools)) {
      return { tool_choice: choice }
    }
    // The caller chooses among its own tools, and does not know of others.
    const { allowed_tools: allowed } = choice
    const own = this.#options.toolbox.definitions.map(({ function: { name } }) => ({
      type: 'function',
      function: { name },
    }))
    return { tool_choice: { ...choice, allowed_tools: { ...allowed, tools: [...own, ...(allowed.tools ?? [])] } } }
  }

  isCallers(tool: string): boolean {
    return this.#callersTools.has(tool)
  }

  /** The run had one step, and nothing in it is hidden from the caller. */
  get isAsAnswered(): boolean {
    return this.#usages.length === 1 && !this.#hides
  }

  /** Of all steps together. */
  get usage(): Usage | undefined {
    return sumUsage(this.#usages)
  }

  /**
   * Takes in what the model said in this step, and runs the gateway's tools that it called. Undefined when the model is to be
   * asked again.
   */
  async take(
    message: AssistantMessage,
    finishReason: FinishReason,
    usage: Usage | undefined,
  ): Promise<RunEnd | undefined> {
    const { call, toolbox, maxSteps } = this.#options
    this.#usages.push(usage)
    if (!this.#heard.usage) call.onUsage?.(usage, this.#target)
    const { turn } = this.#heard
    this.#heard = {}
    const isCallers = (toolCall: ToolCall): boolean => this.isCallers(nameOf(toolCall))
    const asked = withOwnIds(message.tool_calls ?? [], isCallers)
    const own = asked.filter((toolCall) => !isCallers(toolCall))
    const calls = asked.filter(isCallers)
    if (own.length === 0) {
      this.#turn.push(...(turn ?? [message]))
      return { finishReason, calls }
    }
    this.#hides = true
    // Of what was cut short nothing can be run; nor is there a use for results that the model will not see.
    const isCutShort = finishReason === 'length' || finishReason === 'content_filter'
    if (isCutShort || (calls.length === 0 && this.#usages.length >= maxSteps)) {
      this.#turn.push(...(turn ? withoutCalls(turn, own) : [withCalls(message, calls)]))
      return { finishReason: isCutShort ? finishReason : 'length', calls }
    }
    const results = await toolbox.run(own, call)
    if (call.signal?.aborted) throw abortedCall(call.signal.reason)
    const said = asked.map((toolCall) => (calls.includes(toolCall) ? toolCall : sendable(toolCall)))
    this.#turn.push(...(turn ?? [{ ...message, tool_calls: said }]), ...results)
    return calls.length > 0 ? { finishReason: 'tool_calls', calls } : undefined
  }

  /** Tells who listens what the run has added to the conversation. */
  finish(): void {
    this.#options.call.onTurn?.(this.#turn)
  }
}

function refuseImpossible(request: ChatRequest, callersTools: ReadonlySet<string>, toolbox: Toolbox): void {
  const refuse = (param: string, message: string): never => {
    throw new GatewayError('invalid_request', message, { param })
  }
  if ((request.n ?? 1) > 1) refuse('n', 'this model has tools of its own, and answers with one choice')
  if (request.functions?.length) {
    refuse('functions', 'this model has tools of its own, beside which functions cannot be used; use tools')
  }
  for (const name of callersTools) {
    if (toolbox.has(name)) refuse('tools', `this model has a tool "${name}" of its own; give yours another name`)
  }
  const chosen = chosenTool(request.tool_choice)
  if (chosen !== undefined && !callersTools.has(chosen)) {
    refuse('tool_choice', `tool_choice names "${chosen}", which is not in tools`)
  }
}

const toolName = (tool: NonNullable<ChatRequest['tools']>[number]): string =>
  (tool.type === 'custom' ? tool.custom?.name : tool.function?.name) ?? ''

function chosenTool(choice: ChatRequest['tool_choice']): string | undefined {
  if (typeof choice !== 'object' || choice === null) return undefined
  if ('function' in choice) return choice.function?.name
  return 'custom' in choice ? choice.custom?.name : undefined
}

function withCalls({ tool_calls: _calls, ...message }: AssistantMessage, calls: ToolCall[]): AssistantMessage {
  return { ...message, content: message.content ?? '', ...(calls.length > 0 ? { tool_calls: calls } : {}) }
}

/** The messages without those calls, with which the last step ended and which nobody answers. */
function withoutCalls(turn: readonly ChatMessage[], calls: readonly ToolCall[]): ChatMessage[] {
  const at = turn.findLastIndex(({ role }) => role === 'assistant')
  const gone = new Set(calls.map(({ id }) => id))
  return turn.map((message, index) =>
    index === at && message.role === 'assistant'
      ? withCalls(
          message,
          (message.tool_calls ?? []).filter(({ id }) => !gone.has(id)),
        )
      : message,
  )
}
