import { GatewayError } from '../server/errors.ts'
import type { CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest, LLMClient } from '../types.ts'
import { MessageCollector, toRequestMessage } from './message-collector.ts'
import { RunAnswer } from './run-answer.ts'
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
    const said = new RunAnswer()
    for (let step = 0; ; step++) {
      call.onStep?.(step)
      const answer = await this.#client.complete(run.request, run.call)
      const choice = answer.choices?.[0]
      if (!choice?.message) throw withoutChoice()
      const end = await run.take(toRequestMessage(choice.message), choice.finish_reason, answer.usage)
      said.add(choice, end !== undefined || !run.isJSON)
      if (!end) continue
      run.finish()
      if (run.isAsAnswered) return answer
      return { ...answer, choices: [said.choice(end)], ...(run.usage ? { usage: run.usage } : {}) }
    }
  }

  async *stream(request: ChatRequest, call: CallOptions = {}): AsyncGenerator<ChatCompletionChunk> {
    const run = this.#begin(request, call)
    const out = new RunStream({ isCallers: (tool) => run.isCallers(tool), holdsText: run.isJSON })
    for (let step = 0; ; step++) {
      call.onStep?.(step)
      const collector = new MessageCollector()
      let answers = false
      let finishReason: ChatCompletion['choices'][number]['finish_reason'] = 'stop'
      let usage: ChatCompletionChunk['usage']
      for await (const chunk of this.#client.stream(run.request, run.call)) {
        if (chunk.usage) usage = chunk.usage
        const [choice] = chunk.choices ?? []
        if (choice) {
          answers = true
          collector.add(choice.delta ?? {})
          finishReason = choice.finish_reason ?? finishReason
        }
        yield* out.visible(chunk)
      }
      if (!answers) throw withoutChoice()
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

const withoutChoice = (): GatewayError =>
  new GatewayError('upstream_malformed', 'the upstream provider answered without a choice')
