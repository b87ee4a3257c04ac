/**
 * A key for something of one user's. Both parts are encoded, so that `a:b` + `c` and `a` + `b:c` never meet; no user is not
 * the user "anon".
 */
export function userKey(prefix: string, userId: string | null, id: string): string {
  const user = userId === null ? 'anon' : `user:${encodeURIComponent(userId)}`
  return `${prefix}${user}:${encodeURIComponent(id)}`
}
