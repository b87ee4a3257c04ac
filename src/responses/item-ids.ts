import { randomBytes } from 'node:crypto'

const prefixes: Readonly<Record<string, string>> = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
}

const newToken = (): string => randomBytes(24).toString('hex')

export const newResponseId = (): string => `resp_${newToken()}`

/** The id of an item that belongs to no response. */
export const newItemId = (type: string): string => `${prefixes[type] ?? 'item'}_${newToken()}`

/** The id of a tool call that its provider left without one. */
export const newCallId = (): string => `call_${newToken()}`

/**
 * The id of an item of a response: as unique as the response's own id, and {@link responseIdOf} finds the response by it, so that
 * an `item_reference` can be looked up without an index of items.
 */
export const itemId = (type: string, responseId: string, side: 'input' | 'output', place: number): string =>
  `${prefixes[type] ?? 'item'}_${responseId.replace(/^resp_/, '')}_${side === 'input' ? 'i' : 'o'}${place}`

/** The response that an item came into being with; undefined when its id does not tell. */
export function responseIdOf(id: string): string | undefined {
  const [, token] = /^[a-z]+_(.+)_[io]\d+$/.exec(id) ?? []
  return token && `resp_${token}`
}
