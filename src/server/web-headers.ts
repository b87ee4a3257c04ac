import type { IncomingHttpHeaders } from 'node:http'

/** The headers of a message of Node's, as the web has them. */
export function webHeaders(headers: IncomingHttpHeaders): Headers {
  const result = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    for (const item of Array.isArray(value) ? value : [value ?? '']) result.append(name, item)
  }
  return result
}
