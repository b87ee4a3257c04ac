import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'
import { estimateTokens } from './estimate-tokens.ts'
import { frozenCopy } from './frozen-copy.ts'
import { truncated } from './truncate.ts'

/** A conversation as JSON. The object and its list are the caller's own; the messages are frozen. */
export interface ConversationSnapshot {
  version: 1
  messages: ChatMessage[]
}

/** At least one of the two; with both, both hold. Positive integers. */
export type TruncateLimits =
  | { maxTokens: number; maxMessages?: number | undefined }
  | { maxTokens?: number | undefined; maxMessages: number }

/**
 * The messages of one conversation in OpenAI's format, every field as it was given, known to this version or not.
 *
 * Messages are copied (as JSON) and frozen when they come in: nothing that the caller does to its objects changes them.
 */
export class ConversationHistory {
  #messages: readonly ChatMessage[]

  constructor(messages: Iterable<ChatMessage> = []) {
    this.#messages = Object.freeze(Array.from(messages, messageFrom))
  }

  /**
   * What {@link export} gave, also after it went through JSON.
   *
   * @throws TypeError that says what it does not understand: another version, no messages, a message without a role.
   */
  static import(snapshot: unknown): ConversationHistory {
    if (!isObject(snapshot)) throw new TypeError('a conversation snapshot must be an object')
    const { version, messages } = snapshot
    if (version !== 1) {
      const named = (JSON.stringify(version) ?? 'undefined').slice(0, 40)
      throw new TypeError(`conversation snapshot version ${named} is not known; it must be 1`)
    }
    if (!Array.isArray(messages)) throw new TypeError('a conversation snapshot must have a list of messages')
    return new ConversationHistory(messages)
  }

  /** Oldest first; frozen. */
  get messages(): readonly ChatMessage[] {
    return this.#messages
  }

  /** @throws TypeError for a message without a role; then none is appended. */
  append(...messages: ChatMessage[]): this {
    const copies = messages.map(messageFrom)
    this.#messages = Object.freeze([...this.#messages, ...copies])
    return this
  }

  export(): ConversationSnapshot {
    return { version: 1, messages: [...this.#messages] }
  }

  /** A conversation that begins with these messages and goes its own way. */
  fork(): ConversationHistory {
    const copy = new ConversationHistory()
    copy.#messages = this.#messages
    return copy
  }

  /**
   * Drops the oldest turns, each the user's message and what it led to, until the rest is within the limits. The system and
   * developer messages at the front always stay, and so does the newest turn, even if they alone are over a limit. A tool's
   * result never stays without the assistant message that called the tool; one that nobody called is dropped.
   *
   * @throws RangeError for a limit that is no positive integer, or for none.
   */
  truncate({ maxTokens, maxMessages }: TruncateLimits): this {
    if (maxTokens === undefined && maxMessages === undefined) throw new RangeError('give maxTokens or maxMessages')
    const limits = { maxTokens: limit({ maxTokens }), maxMessages: limit({ maxMessages }) }
    this.#messages = Object.freeze(truncated(this.#messages, limits))
    return this
  }

  /** Roughly how many tokens these messages are for a model; see {@link estimateTokens}. */
  estimateTokens(): number {
    return estimateTokens(this.#messages)
  }
}

function limit(named: Record<string, number | undefined>): number {
  const [[name, value] = ['', undefined]] = Object.entries(named)
  if (value === undefined) return Number.POSITIVE_INFINITY
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} must be a positive integer, not ${value}`)
  return value
}

function messageFrom(message: ChatMessage, index: number): ChatMessage {
  const copy = isObject(message) ? copyOf(message, index) : undefined
  if (!isObject(copy) || typeof copy.role !== 'string' || copy.role === '') {
    throw new TypeError(`message ${index} must be an object with a role`)
  }
  return copy as unknown as ChatMessage
}

function copyOf(message: object, index: number): unknown {
  try {
    return frozenCopy(message)
  } catch (cause) {
    throw new TypeError(`message ${index} is no JSON: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}
