import { Type } from 'typebox'

/** Of every section: a key that is misspelt is told. */
export const options = { additionalProperties: false }

export const Duration = (description: string, otherwise?: string) =>
  Type.String({
    description,
    pattern: '^\\d+(ms|s|m|h|d)$',
    ...(otherwise === undefined ? {} : { default: otherwise }),
  })
