import { randomUUID } from 'node:crypto'
import { argumentsIn } from './arguments-in.ts'
import type { ToolCall } from './toolbox.ts'

/** Some models give several calls one id, or none. Calls that the caller is not to answer can have others. */
export function withOwnIds(calls: readonly ToolCall[], isCallers: (call: ToolCall) => boolean): ToolCall[] {
  const taken = new Set(calls.filter(isCallers).map(({ id }) => id))
  return calls.map((call) => {
    if (isCallers(call)) return call
    // Nine letters and digits: Mistral takes no other ids.
    const id = !call.id || taken.has(call.id) ? `c${randomUUID().slice(0, 8)}` : call.id
    taken.add(id)
    return { ...call, id }
  })
}

/** As the next request can hold it: providers refuse arguments that are no JSON object, also when the model has said so. */
export function sendable(call: ToolCall): ToolCall {
  if (!('function' in call)) return call
  const text: unknown = call.function.arguments
  const args = argumentsIn(text)
  if (args && typeof text === 'string' && text.trim().startsWith('{')) return call
  return { ...call, function: { ...call.function, arguments: JSON.stringify(args ?? {}) } }
}
