import { invalid } from './refusals.ts'
import type { ResponseRequest } from './response-types.ts'

const mostPairs = 16
const longestKey = 64
const longestValue = 512

/** OpenAI's limits of what a client may attach. @throws GatewayError `invalid_request` */
export function assertMetadata({ metadata }: Pick<ResponseRequest, 'metadata'>): void {
  const pairs: [string, unknown][] = Object.entries(metadata ?? {})
  if (pairs.length > mostPairs) throw invalid('metadata', `'metadata' has more than ${mostPairs} pairs`)
  for (const [key, value] of pairs) {
    if (key.length > longestKey)
      throw invalid('metadata', `a key of 'metadata' is longer than ${longestKey} characters`)
    const param = `metadata.${key}`
    if (typeof value !== 'string') throw invalid(param, `invalid value for '${param}': must be string`)
    if (value.length > longestValue) throw invalid(param, `'${param}' is longer than ${longestValue} characters`)
  }
}
