import { nameOf } from '../target.ts'
import type { ExchangeFacts } from './exchange-facts.ts'

/** Characters. */
const longestTarget = 300

/** How often a provider was asked for an answer, and who has served, if that is known. */
export const servedHeaders = (attempts: number, target: string | undefined): Record<string, string> => ({
  'x-signalbox-attempts': String(attempts),
  // A client's model may be any text.
  ...(target === undefined
    ? {}
    : { 'x-signalbox-target': target.replace(/[^\x21-\x7e]/g, '?').slice(0, longestTarget) }),
})

/** `provider/model` of who has served an exchange, if that is known. */
export function servedBy({ target, askedTarget }: ExchangeFacts): string | undefined {
  if (target !== undefined || !askedTarget) return target
  // Of several, nobody was asked.
  return askedTarget.provider === 'mixed' || askedTarget.model === 'mixed' ? undefined : nameOf(askedTarget)
}
