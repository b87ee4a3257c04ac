import type { ChatCompletion } from '../types.ts'
import { joinContent } from './content.ts'
import { merge } from './message-collector.ts'
import type { RunEnd } from './tool-run.ts'

type Choice = ChatCompletion['choices'][number]

/** The answers of all steps of a run as the one answer that the caller sees: what a stream of them would have said. */
export class RunAnswer {
  readonly #message: Record<string, unknown> = {}
  readonly #logprobs: Record<string, unknown> = {}
  #content: string | readonly unknown[] | undefined
  #last: Choice | undefined
  #thoughts = 0

  /** Without `showsText`, what the step says beside its tool calls is left out. */
  add(choice: Choice, showsText: boolean): void {
    const { content, tool_calls: _calls, role: _role, ...rest } = choice.message
    const { reasoning_content, extra_content } = rest as { reasoning_content?: unknown; extra_content?: unknown }
    if (reasoning_content || extra_content) this.#thoughts += 1
    merge(this.#message, rest)
    if (showsText && content) {
      this.#content = this.#content ? joinContent(joinContent(this.#content, '\n\n'), content) : content
    }
    if (showsText && choice.logprobs) merge(this.#logprobs, choice.logprobs)
    this.#last = choice
  }

  choice({ finishReason, calls }: RunEnd): Choice {
    if (!this.#last) throw new TypeError('a run has at least one step')
    const { message, logprobs } = this.#last
    return {
      ...this.#last,
      message: {
        role: 'assistant',
        content: this.#content ?? message.content ?? null,
        ...this.#message,
        // A signature is one thought's: the thoughts of several steps together have none.
        ...(this.#thoughts > 1 && this.#message.extra_content ? { extra_content: null } : {}),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      } as Choice['message'],
      logprobs: (Object.keys(this.#logprobs).length > 0 ? this.#logprobs : (logprobs ?? null)) as Choice['logprobs'],
      finish_reason: finishReason,
    }
  }
}
