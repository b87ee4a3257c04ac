import { Type } from 'typebox'

/** An amount and its unit, as `15s`. */
export const Duration = (description: string, otherwise?: string) =>
  Type.String({
    description,
    pattern: '^\\d+(ms|s|m|h|d)$',
    ...(otherwise === undefined ? {} : { default: otherwise }),
  })

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `15s` in milliseconds. */
export function milliseconds(duration: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(duration) ?? []
  return Number(amount) * units[unit as keyof typeof units]
}
