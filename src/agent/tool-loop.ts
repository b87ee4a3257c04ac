import { GatewayError } from '../server/errors.ts'
import type { CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { MessageCollector, toRequestMessage } from './message-collector.ts'
import { RunStream } from './run-stream.ts'
import { ToolRun } from './tool-run.ts'
import type { Toolbox } from './toolbox.ts'

export interface ToolLoopOptions {
  client: LLMClient
  toolbox: Toolbox
  /** How often the model is asked at most. */
  maxSteps: number
}

/**
 * A client whose model may call tools of the gateway: it is asked again with their results, until it answers or calls a tool
 * of the caller's. The caller sees neither those calls nor their results. Nothing is kept between two requests.
 */
export class ToolLoop implements LLMClient {
  readonly provider: string
  readonly model: string
  readonly #client: LLMClient
  readonly #toolbox: Toolbox
  readonly #maxSteps: number

  constructor({ client, toolbox, maxSteps }: ToolLoopOptions) {
    this.provider = client.provider
    this.model = client.model
    this.#client = client
    this.#toolbox = toolbox
    this.#maxSteps = maxSteps
  }

  async complete(request: ChatRequest, call: CallOptions = {}): Promise<ChatCompletion> {
    const run = this.#begin(request, call)
    const texts: string[] = []
    for (;;) {
      const answer = await this.#client.complete(run.request, run.call)
      const [choice] = answer.choices
      if (!choice) throw new GatewayError('upstream_malformed', 'the upstream provider answered without a choice')
      const end = await run.take(toRequestMessage(choice.message), choice.finish_reason, answer.usage)
      if (choice.message.content && (end || !run.isJSON)) texts.push(choice.message.content)
      if (!end) continue
      const { tool_calls: _calls, ...message } = choice.message
      const content = texts.length > 0 ? texts.join('\n\n') : choice.message.content
      run.finish()
      return {
        ...answer,
        choices: [
          {
            ...choice,
            message: {
              ...message,
              content,
              ...(end.calls.length > 0 ? { tool_calls: end.calls } : {}),
            } as typeof message,
            finish_reason: end.finishReason,
          },
        ],
        ...(run.usage ? { usage: run.usage } : {}),
      }
    }
  }

  async *stream(request: ChatRequest, call: CallOptions = {}): AsyncGenerator<ChatCompletionChunk> {
    const run = this.#begin(request, call)
    const out = new RunStream({ isCallers: (tool) => run.isCallers(tool), holdsText: run.isJSON })
    for (;;) {
      const collector = new MessageCollector()
      let finishReason: ChatCompletion['choices'][number]['finish_reason'] = 'stop'
      let usage: ChatCompletionChunk['usage']
      for await (const chunk of this.#client.stream(run.request, run.call)) {
        if (chunk.usage) usage = chunk.usage
        const [choice] = chunk.choices ?? []
        if (choice) collector.add(choice.delta ?? {})
        if (choice?.finish_reason) finishReason = choice.finish_reason
        const visible = out.visible(chunk)
        if (visible) yield visible
      }
      const end = await run.take(collector.message, finishReason, usage ?? undefined)
      yield* out.endStep(end !== undefined)
      if (!end) continue
      run.finish()
      yield out.finish(end.finishReason)
      if (request.stream_options?.include_usage && run.usage) yield out.usage(run.usage)
      return
    }
  }

  #begin(request: ChatRequest, call: CallOptions): ToolRun {
    return new ToolRun({ request, call, client: this.#client, toolbox: this.#toolbox, maxSteps: this.#maxSteps })
  }
}
