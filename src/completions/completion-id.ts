import { randomBytes } from 'node:crypto'

const pattern = /^chatcmpl-([\da-f]{12})[\da-f]{36}$/

/**
 * An id of the gateway's own: that of a provider need not be unique. It begins with the time, so that a completion has its place
 * in a list also when it is gone.
 */
export const newCompletionId = (): string =>
  `chatcmpl-${Date.now().toString(16).padStart(12, '0')}${randomBytes(18).toString('hex')}`

/** When a completion came into being, in milliseconds since 1970; undefined for an id that is not ours. */
export function timeOf(id: string): number | undefined {
  const [, time] = pattern.exec(id) ?? []
  return time === undefined ? undefined : Number.parseInt(time, 16)
}
