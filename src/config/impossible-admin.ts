import { hash } from 'node:crypto'
import { BearerKeyAuth } from '../auth/bearer-key-auth.ts'
import type { Config } from './schema.ts'

/** What is wrong with the admin API, alone and beside the keys of clients. */
export function* impossibleAdmin({ admin, auth, server, metrics }: Partial<Config>): Generator<string> {
  if (!admin) return
  const { enabled, keys, port } = admin
  if (enabled && keys.length === 0) yield 'admin.keys: the admin API needs at least one key'
  const taken =
    port === undefined || port === 0 ? undefined : { 'server.port': server?.port, 'metrics.port': metrics?.port }
  for (const [name, other] of Object.entries(taken ?? {})) {
    if (other === port) yield `admin.port: is ${name}, too; leave it out to serve the admin API there`
  }
  let ambiguous = false
  for (const [index, { key, sha256 }] of keys.entries()) {
    if ((key === undefined) !== (sha256 === undefined)) continue
    ambiguous = true
    yield `admin.keys.${index}: give either key or sha256`
  }
  if (ambiguous) return
  if (new Set(keys.map(({ name }) => name)).size < keys.length) yield 'admin.keys: the same name is listed twice'
  const ofClients = new Set(auth?.keys?.map(digestOf))
  for (const [index, key] of keys.entries()) {
    if (ofClients.has(digestOf(key))) yield `admin.keys.${index}: is a key of auth.keys, too; clients must not have it`
  }
  try {
    new BearerKeyAuth({ keys })
  } catch (error) {
    yield `admin.keys: ${error instanceof Error ? error.message : String(error)}`
  }
}

const digestOf = ({ key, sha256 }: { key?: string; sha256?: string }): string =>
  key === undefined ? String(sha256).toLowerCase() : hash('sha256', key)
