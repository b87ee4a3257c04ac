import type { AgentTraits, CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { ConversationHistory } from './conversation-history.ts'
import { guarded, guardedTools } from './guarded.ts'
import { assertGuardrail, type Guardrail } from './guardrail.ts'
import { instructed } from './instructed.ts'
import { remembered } from './remembered.ts'
import type { AgentTool } from './tool.ts'
import { ToolLoop } from './tool-loop.ts'
import { Toolbox } from './toolbox.ts'
import { unlessAborted } from './unless-aborted.ts'
import { withoutTools } from './without-tools.ts'

export interface AgentLoopOptions {
  /** The model that it asks. */
  client: LLMClient
  /** System message before everything that the caller sends. */
  system?: string
  /** Tools that the gateway runs; the caller sees neither them nor their results. Default none. */
  tools?: readonly AgentTool[]
  /** False to ignore the tools that a caller sends. Default true: calls of those come back to it as `tool_calls`. */
  allowExternalTools?: boolean
  /** How often the model is asked at most for one answer, which then ends with `finish_reason: "length"`. Default 10. */
  maxSteps?: number
  /** In their order. Default none. */
  guardrails?: readonly Guardrail[]
  /** A conversation of its own: each request is a turn of it, one after the other. Default: each request stands alone. */
  history?: ConversationHistory
}

/** A model with instructions, tools and guardrails, behind the same interface as the model itself. */
export class AgentLoop implements LLMClient {
  readonly provider: string
  readonly model: string
  readonly agent: AgentTraits
  readonly #client: LLMClient
  readonly #closes: LLMClient
  #history: ConversationHistory | undefined

  /** @throws TypeError for tools, guardrails or limits that cannot be */
  constructor(options: AgentLoopOptions) {
    const { client, system, tools = [], guardrails = [], allowExternalTools = true, maxSteps = 10, history } = options
    if (!Number.isSafeInteger(maxSteps) || maxSteps < 1) {
      throw new TypeError(`maxSteps must be a positive integer, not ${maxSteps}`)
    }
    for (const guardrail of guardrails) assertGuardrail(guardrail)
    this.provider = client.provider
    this.model = client.model
    this.agent = {
      allowExternalTools,
      toolNames: [...(client.agent?.toolNames ?? []), ...tools.map(({ name }) => name)],
      keepsHistory: history !== undefined || (client.agent?.keepsHistory ?? false),
    }
    this.#closes = client
    this.#history = history
    let composed = system ? instructed(client, system) : client
    if (tools.length > 0) {
      const toolbox = new Toolbox(tools, guardedTools(guardrails))
      composed = new ToolLoop({ client: composed, toolbox, maxSteps })
    }
    if (!allowExternalTools) composed = withoutTools(composed)
    if (guardrails.length > 0) composed = guarded(composed, guardrails)
    if (history) composed = this.#remembering(composed)
    this.#client = composed
  }

  /** Its own conversation so far. */
  get history(): ConversationHistory | undefined {
    return this.#history
  }

  complete(request: ChatRequest, call?: CallOptions): Promise<ChatCompletion> {
    return this.#client.complete(request, call)
  }

  stream(request: ChatRequest, call?: CallOptions): AsyncIterable<ChatCompletionChunk> {
    return this.#client.stream(request, call)
  }

  async close(): Promise<void> {
    await this.#closes.close?.()
  }

  #remembering(client: LLMClient): LLMClient {
    let last = Promise.resolve()
    return remembered(client, async ({ signal }) => {
      const before = last
      const { promise, resolve } = Promise.withResolvers<void>()
      last = promise
      try {
        await unlessAborted(signal, () => before)
      } catch (error) {
        // Who is next still waits for those before.
        void before.then(resolve)
        throw error
      }
      return {
        history: this.#history?.fork() ?? new ConversationHistory(),
        save: async (history) => {
          this.#history = history
        },
        release: resolve,
      }
    })
  }
}
