import { GatewayError } from '../server/errors.ts'
import type { CallOptions, ChatCompletion, ChatMessage, ChatRequest, LLMClient, Target, Usage } from '../types.ts'
import type { AssistantMessage } from './message-collector.ts'
import { nameOf, type Toolbox, type ToolCall } from './toolbox.ts'
import { sumUsage } from './usage-sum.ts'

type FinishReason = ChatCompletion['choices'][number]['finish_reason']

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

  /** @throws GatewayError for a request that no run can serve */
  constructor(options: ToolRunOptions) {
    const { request, call, client, toolbox } = options
    this.#options = options
    // "none" is said of the tools that the caller knows.
    const callers = request.tool_choice === 'none' ? [] : (request.tools ?? [])
    this.#callersTools = new Set(callers.map((tool) => toolName(tool)))
    refuseImpossible(request, this.#callersTools, toolbox)
    this.#tools = [...toolbox.definitions, ...callers]
    this.isJSON = request.response_format?.type?.startsWith('json') ?? false
    this.#target = { provider: client.provider, model: client.model === '*' ? request.model : client.model }
    this.call = {
      ...call,
      onTarget: (target) => {
        this.#target = target
        call.onTarget?.(target)
      },
    }
  }

  /** What the model is asked next. */
  get request(): ChatRequest {
    const { request } = this.#options
    const { tool_choice, ...rest } = request
    // What must be called is a tool of the caller's, and with that the run ends. Where there is none, once is enough.
    const isFirst = this.#usages.length === 0
    const keepsChoice = tool_choice && tool_choice !== 'none' && (isFirst || this.#callersTools.size > 0)
    return {
      ...rest,
      messages: [...request.messages, ...this.#turn],
      tools: this.#tools,
      ...(keepsChoice ? { tool_choice } : {}),
    } as ChatRequest
  }

  isCallers(tool: string): boolean {
    return this.#callersTools.has(tool)
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
    call.onUsage?.(usage, this.#target)
    const asked = message.tool_calls ?? []
    const own = asked.filter((toolCall) => !this.isCallers(nameOf(toolCall)))
    const calls = asked.filter((toolCall) => this.isCallers(nameOf(toolCall)))
    if (own.length === 0) return this.#end(message, finishReason, calls)
    // Of what was cut short nothing can be run; nor is there a use for results that the model will not see.
    const isCutShort = finishReason === 'length' || finishReason === 'content_filter'
    if (isCutShort || (calls.length === 0 && this.#usages.length >= maxSteps)) {
      return this.#end(withCalls(message, calls), isCutShort ? finishReason : 'length', calls)
    }
    const results = await toolbox.run(own, call)
    this.#turn.push(message, ...results)
    return calls.length > 0 ? { finishReason: 'tool_calls', calls } : undefined
  }

  /** Tells who listens what the run has added to the conversation. */
  finish(): void {
    this.#options.call.onTurn?.(this.#turn)
  }

  #end(message: AssistantMessage, finishReason: FinishReason, calls: ToolCall[]): RunEnd {
    this.#turn.push(message)
    return { finishReason, calls }
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
