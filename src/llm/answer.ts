import { isObject, parseJSON } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import { withSource } from '../source.ts'

/** A provider's JSON object, with the text that it came as; undefined when it is something else. */
export function parseAnswer(text: string): Record<string, unknown> | undefined {
  try {
    const value = parseJSON(text)
    return isObject(value) ? withSource(value, text) : undefined
  } catch {
    return undefined
  }
}

/** The provider's answer is not what its API promises. */
export const malformed = (message: string): GatewayError => new GatewayError('upstream_malformed', message)
