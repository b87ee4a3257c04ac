import { isObject } from '../json.ts'
import type { ChatMessage } from '../types.ts'

/** What a guardrail knows of the turn that it watches. */
export interface GuardrailContext {
  /** Aborts when the client has left. */
  signal: AbortSignal | undefined
  requestId: string | undefined
  userId: string | null
  conversationId: string | undefined
}

/** Nothing lets the turn go on; a reason stops it. The reason is told to the client. */
export type Verdict = { reason: string } | null | undefined

type Check<Subject> = (subject: Subject, context: GuardrailContext) => Verdict | Promise<Verdict>

/**
 * Watches what goes into a model, what comes out of it, and what tools are called with. A turn that is stopped ends with
 * `finish_reason: "content_filter"` and the reason as the message's `refusal`; it is not kept in the conversation. A guardrail
 * that throws fails the request: what cannot be checked does not pass.
 */
export interface Guardrail {
  /** Shown to hooks; never to clients. */
  name: string
  /** Of a turn's messages, earlier ones included, before the model sees them. */
  input?: Check<readonly ChatMessage[]>
  /** Of the answer's text, thoughts included. On a stream: of the text so far, again and again, before any of it goes out. */
  output?: Check<string>
  /** Of a tool's arguments, before the gateway runs it. */
  toolInput?: Check<{ tool: string; arguments: unknown }>
}

/** Checks the guardrail's shape, for those who do without types. @throws TypeError naming the guardrail and what is wrong */
export function defineGuardrail(guardrail: Guardrail): Guardrail {
  assertGuardrail(guardrail)
  return guardrail
}

/** @throws TypeError naming the guardrail and what is wrong */
export function assertGuardrail(value: unknown): asserts value is Guardrail {
  if (!isObject(value)) throw new TypeError('a guardrail must be an object')
  const { name, input, output, toolInput } = value
  if (typeof name !== 'string' || !name) throw new TypeError('a guardrail needs a name')
  const checks = Object.entries({ input, output, toolInput }).filter(([, check]) => check !== undefined)
  const [wrong] = checks.find(([, check]) => typeof check !== 'function') ?? []
  if (wrong) throw new TypeError(`guardrail "${name}": ${wrong} must be a function`)
  if (checks.length === 0) throw new TypeError(`guardrail "${name}" needs input, output or toolInput`)
}
