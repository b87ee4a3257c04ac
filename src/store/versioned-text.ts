import { randomBytes } from 'node:crypto'
import { isObject, parseJSON } from '../json.ts'
import { textOf } from './stored-value.ts'

const opening = '{"version":"'
const versionBytes = 12

/** How many characters at the start of a {@link versionedText} tell it from every other one. */
export const headLength = opening.length + (versionBytes / 3) * 4

/**
 * A value as the text that is kept, JSON as well, which begins with what no other text does. Drawn at random: a counter would
 * begin anew when a store has lost it.
 *
 * @throws TypeError for what JSON has no text for
 */
export const versionedText = (value: unknown): string =>
  `${opening}${randomBytes(versionBytes).toString('base64url')}","value":${textOf(value)}}`

/** @throws SyntaxError for a text that is not one of these */
export function valueIn(text: string): unknown {
  const kept = parseJSON(text)
  if (!text.startsWith(opening) || !isObject(kept) || !('value' in kept))
    throw new SyntaxError('no value of this store')
  return kept.value
}
