/** Where a Redis is, as its URL tells. */
export interface RedisAddress {
  mode: 'single' | 'sentinel' | 'cluster'
  tls: boolean
  /** Of the server, the sentinels, or some of the cluster's nodes. */
  nodes: { host: string; port: number }[]
  /** The sentinels' name for the master; empty in the other modes. */
  master: string
  username: string | undefined
  password: string | undefined
  /** The number of the database. */
  db: number
}

const forms =
  'redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],…/master[/db] or ' +
  'redis+cluster://[user:password@]host[:port],…; rediss instead of redis for TLS'

const shape =
  /^redis(?<tls>s?)(?:\+(?<mode>sentinel|cluster))?:\/\/(?:(?<login>[^@/]*)@)?(?<hosts>[^@/?#]+)(?<path>[^@?#]*)$/
const host = /^(?:\[(?<six>[\da-f:.]+)\]|(?<name>[^:[\]\s]+))(?::(?<port>\d{1,5}))?$/i
const paths = {
  single: /^(?:\/(?<db>\d{1,5})?)?$/,
  sentinel: /^\/(?<master>[^/]+)(?:\/(?<db>\d{1,5})?)?$/,
  cluster: /^\/?$/,
}

/**
 * Reads the URL of a Redis: one server, the master that sentinels name, or a cluster. User and password are percent-encoded
 * where they hold one of `@ / : %`. Default ports: 6379, of sentinels 26379.
 *
 * @throws TypeError that names the forms, and nothing of the URL: it may hold a password
 */
export function parseRedisUrl(url: string): RedisAddress {
  const { tls, mode = 'single', login, hosts = '', path = '' } = shape.exec(url)?.groups ?? {}
  if (!isMode(mode)) throw unreadable()
  const place = paths[mode].exec(path)
  if (!place) throw unreadable()
  const { master = '', db = '0' } = place.groups ?? {}
  const [username, password] = credentialsIn(login)
  const defaultPort = mode === 'sentinel' ? 26_379 : 6379
  const nodes = hosts.split(',').map((text) => nodeIn(text, defaultPort))
  if (mode === 'single' && nodes.length > 1) throw unreadable()
  return { mode, tls: tls === 's', nodes, master: decoded(master) ?? '', username, password, db: Number(db) }
}

const isMode = (mode: string): mode is RedisAddress['mode'] => Object.hasOwn(paths, mode)

function nodeIn(text: string, defaultPort: number): { host: string; port: number } {
  const { six, name, port = defaultPort } = host.exec(text)?.groups ?? {}
  const found = { host: six ?? name ?? '', port: Number(port) }
  if (!found.host || found.port < 1 || found.port > 65_535) throw unreadable()
  return found
}

/** What is empty is left out: `:secret@` is a password alone. */
function credentialsIn(login = ''): [username: string | undefined, password: string | undefined] {
  const colon = login.indexOf(':')
  if (colon === -1) return [decoded(login), undefined]
  return [decoded(login.slice(0, colon)), decoded(login.slice(colon + 1))]
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text) || undefined
  } catch {
    throw unreadable()
  }
}

const unreadable = (): TypeError => new TypeError(`the URL of a Redis must be one of ${forms}`)
