/**
 * A key for something of one user's. Both parts are encoded, so that `a:b` + `c` and `a` + `b:c` never meet; no user is not
 * the user "anon".
 *
 * User and id stand in braces, as a Redis Cluster reads them: with whatever prefix, they are on one server, where a value and
 * the lease that guards it must be. The prefix has no braces of its own.
 */
export function userKey(prefix: string, userId: string | null, id: string): string {
  const user = userId === null ? 'anon' : `user:${encoded(userId)}`
  return `${prefix}{${user}:${encoded(id)}}`
}

/** Half a surrogate pair has no percent-encoding: it gets one that nothing else has, so that two users never become one. */
const encoded = (text: string): string =>
  text.isWellFormed() ? encodeURIComponent(text) : text.replace(/\p{Cs}|\P{Cs}+/gu, encodedPart)

const encodedPart = (part: string): string =>
  part.isWellFormed() ? encodeURIComponent(part) : `%u${part.charCodeAt(0).toString(16)}`
