import type { TSchema } from 'typebox'
import { bodyOf } from '../body-schema.ts'

/** A part of a call that fits, or what is wrong with it: `invalid_request`, whose `param` names the field. */
export type Validated = { value: unknown } | { error: Error }

/** Checks values of one schema. What was left out altogether is an object without fields. */
export function validated(schema: TSchema): (value: unknown) => Validated {
  const { fits, refusal } = bodyOf(schema as Parameters<typeof bodyOf>[0])
  return (given) => {
    const value = given ?? {}
    return fits(value) ? { value } : { error: refusal(value) }
  }
}
