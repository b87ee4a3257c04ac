import type { LanguageModelV4StreamPart } from '@ai-sdk/provider'
import type { ChatCompletionChunk, ChunkChoice, ChunkDelta } from '../types.ts'
import { extraContent, lostFile, newId, toFinishReason, toSeconds, toUsage, toWarning } from './ai-sdk-answer.ts'
import { sdkError } from './ai-sdk-errors.ts'

export interface ChunkWriterOptions {
  /** The model asked for, where the provider names none. */
  model: string
  kind: string
  /** `stream_options.include_usage` */
  includeUsage: boolean
  onWarning: (warning: string) => void
}

/** What many providers send beside OpenAI's fields. */
type Delta = ChunkDelta & { reasoning_content?: string; extra_content?: object | null }

/** What is known of a tool call that is being streamed. */
interface OpenCall {
  index: number
  /** Some of its arguments have been sent. */
  begun: boolean
  /** Its `extra_content` has been sent. */
  marked: boolean
}

/** Turns the parts of the AI SDK's stream into chunks: the role first, the finish reason last, then the usage. */
export class ChunkWriter {
  readonly #options: ChunkWriterOptions
  readonly #calls = new Map<string, OpenCall>()
  #head: { id: string; created: number; model: string } | undefined
  #started = false
  #thoughts = 0

  constructor(options: ChunkWriterOptions) {
    this.#options = options
  }

  /** @throws GatewayError for an `error` part, and for an end that is none. */
  read(part: LanguageModelV4StreamPart): ChatCompletionChunk[] {
    switch (part.type) {
      case 'stream-start':
        for (const warning of part.warnings) this.#options.onWarning(toWarning(warning, this.#options.kind))
        return []
      case 'response-metadata':
        this.#head ??= {
          id: part.id ?? newId(),
          created: toSeconds(part.timestamp),
          model: part.modelId ?? this.#options.model,
        }
        return []
      case 'text-delta':
        return part.delta ? this.#write({ content: part.delta }) : []
      case 'reasoning-start':
        this.#thoughts += 1
        return this.#thought('', part)
      case 'reasoning-delta':
      case 'reasoning-end':
        return this.#thought('delta' in part ? part.delta : '', part)
      case 'tool-input-start':
        return part.providerExecuted ? [] : this.#openCall(part.id, part.toolName, '', part)
      case 'tool-input-delta':
        return this.#continueCall(part.id, part.delta)
      case 'tool-call':
        return part.providerExecuted ? [] : this.#closeCall(part)
      case 'file':
        this.#options.onWarning(lostFile(part))
        return []
      case 'error':
        throw sdkError(part.error)
      case 'finish':
        return this.#finish(part)
      default:
        return []
    }
  }

  /** A signature belongs to one thought; with several, the text they are joined to has none. */
  #thought(
    text: string,
    { providerMetadata }: Pick<LanguageModelV4StreamPart & { type: 'reasoning-end' }, 'providerMetadata'>,
  ): ChatCompletionChunk[] {
    const { extra_content } = extraContent(providerMetadata)
    if (!text && !extra_content) return []
    return this.#write({
      ...(text ? { reasoning_content: text } : {}),
      ...(extra_content ? { extra_content: this.#thoughts > 1 ? null : extra_content } : {}),
    })
  }

  #openCall(
    id: string,
    name: string,
    input: string,
    { providerMetadata }: Pick<LanguageModelV4StreamPart & { type: 'tool-call' }, 'providerMetadata'>,
  ): ChatCompletionChunk[] {
    const extra = extraContent(providerMetadata)
    const call = { index: this.#calls.size, begun: input !== '', marked: 'extra_content' in extra }
    this.#calls.set(id, call)
    return this.#write({
      tool_calls: [{ index: call.index, id, type: 'function', function: { name, arguments: input }, ...extra }],
    })
  }

  #continueCall(id: string, delta: string): ChatCompletionChunk[] {
    const call = this.#calls.get(id)
    if (!call || !delta) return []
    call.begun = true
    return this.#write({ tool_calls: [{ index: call.index, function: { arguments: delta } }] })
  }

  /** A call without arguments is `{}` only here, and some providers send none of it before. */
  #closeCall(part: LanguageModelV4StreamPart & { type: 'tool-call' }): ChatCompletionChunk[] {
    const call = this.#calls.get(part.toolCallId)
    if (!call) return this.#openCall(part.toolCallId, part.toolName, part.input, part)
    const extra = call.marked ? {} : extraContent(part.providerMetadata)
    const rest = call.begun ? {} : { function: { arguments: part.input } }
    const delta = { ...rest, ...extra }
    return Object.keys(delta).length > 0 ? this.#write({ tool_calls: [{ index: call.index, ...delta }] }) : []
  }

  #finish({ finishReason, usage }: LanguageModelV4StreamPart & { type: 'finish' }): ChatCompletionChunk[] {
    const chunks = this.#write({}, toFinishReason(finishReason, this.#options.onWarning))
    const counted = this.#options.includeUsage ? toUsage(usage) : undefined
    return counted ? [...chunks, { ...this.#envelope(), choices: [], usage: counted }] : chunks
  }

  #write(delta: Delta, finish_reason: ChunkChoice['finish_reason'] = null): ChatCompletionChunk[] {
    const chunk = (delta: Delta, finish_reason: ChunkChoice['finish_reason']): ChatCompletionChunk => ({
      ...this.#envelope(),
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    })
    const chunks = [chunk(delta, finish_reason)]
    if (!this.#started) chunks.unshift(chunk({ role: 'assistant', content: '', refusal: null }, null))
    this.#started = true
    return chunks
  }

  #envelope() {
    this.#head ??= { id: newId(), created: toSeconds(), model: this.#options.model }
    return {
      ...this.#head,
      object: 'chat.completion.chunk' as const,
      ...(this.#options.includeUsage ? { usage: null } : {}),
    }
  }
}
