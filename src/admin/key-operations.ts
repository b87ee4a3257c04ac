import type { KeyChanges, KeyRecords, KeySettings, MadeKey } from '../auth/key-records.ts'
import { type KeyRecord, stateOf } from '../auth/stored-key.ts'
import { listOf, pageLimits } from '../responses/page.ts'
import { GatewayError } from '../server/errors.ts'
import { type AdminOperation, operation } from './operation.ts'
import { CreateKey, Key, KeyList, KeyParams, KeyWithText, ListQuery, RotateKey, UpdateKey, Usage } from './schemas.ts'
import type { UsageSource } from './usage-source.ts'

export interface KeyOperationsOptions {
  records: KeyRecords
  usage: UsageSource
}

/** The operations on keys of clients. */
export const keyOperations = ({ records, usage }: KeyOperationsOptions): AdminOperation[] => [
  operation({
    method: 'POST',
    path: '/keys',
    action: 'keys.create',
    tag: 'keys',
    summary: 'Make a key',
    description: 'The answer has the key itself, which is shown this once. It works on every replica at once.',
    body: CreateKey,
    response: KeyWithText,
    status: 201,
    async answer({ body: { expires_at, ...settings }, concerns }) {
      assertFuture(expires_at)
      const made = await records.create({
        ...settings,
        ...(expires_at && { expiresAt: expires_at * 1000 }),
      } as KeySettings)
      concerns(made.record.id)
      return withText(made)
    },
  }),
  operation({
    method: 'GET',
    path: '/keys',
    action: 'keys.list',
    tag: 'keys',
    summary: 'List the keys',
    description: 'The revoked and the expired ones, too. Those of the configuration are not among them.',
    query: ListQuery,
    response: KeyList,
    async answer({ query }) {
      const { limit, order } = pageLimits(query, 'desc')
      const last = query.after === undefined ? undefined : await found(records.get(query.after), query.after, 'after')
      const after = last && { at: last.createdAt, member: last.id }
      // One more than asked for tells whether there are more.
      const { places, records: list } = await records.list({ order, after, limit: limit + 1 })
      return listOf(list.slice(0, limit).map(shown), places.length > limit)
    },
  }),
  operation({
    method: 'GET',
    path: '/keys/:id',
    action: 'keys.get',
    tag: 'keys',
    summary: 'Show a key',
    params: KeyParams,
    response: Key,
    async answer({ params: { id }, concerns }) {
      concerns(id)
      return shown(await found(records.get(id), id))
    },
  }),
  operation({
    method: 'PATCH',
    path: '/keys/:id',
    action: 'keys.update',
    tag: 'keys',
    summary: 'Change a key',
    description: 'Effective on every replica within 2 seconds.',
    params: KeyParams,
    body: UpdateKey,
    response: Key,
    async answer({ params: { id }, body, concerns }) {
      const { expires_at, ...rest } = body
      concerns(id, Object.keys(body))
      const expiresAt = expires_at === undefined ? {} : { expiresAt: expires_at && expires_at * 1000 }
      return shown(assertNotRevoked(await found(records.update(id, { ...rest, ...expiresAt } as KeyChanges), id)))
    },
  }),
  operation({
    method: 'DELETE',
    path: '/keys/:id',
    action: 'keys.revoke',
    tag: 'keys',
    summary: 'Revoke a key',
    description: 'It is refused on every replica within 2 seconds, and for good.',
    params: KeyParams,
    response: Key,
    async answer({ params: { id }, concerns }) {
      concerns(id)
      return shown(await found(records.revoke(id), id))
    },
  }),
  operation({
    method: 'POST',
    path: '/keys/:id/rotate',
    action: 'keys.rotate',
    tag: 'keys',
    summary: 'Give a key a new text',
    description: 'It keeps its id, its limits and its usage. For the overlap the old text works, too.',
    params: KeyParams,
    body: RotateKey,
    response: KeyWithText,
    async answer({ params: { id }, body: { overlap_seconds = 3600 }, concerns }) {
      concerns(id)
      assertNotRevoked(await found(records.get(id), id))
      const made = await records.rotate(id, overlap_seconds * 1000)
      if (!made) throw revoked(id)
      return withText(made)
    },
  }),
  operation({
    method: 'GET',
    path: '/keys/:id/usage',
    action: 'keys.usage',
    tag: 'keys',
    summary: 'Show what a key has used',
    description: 'What other replicas have counted in the last seconds may be missing.',
    params: KeyParams,
    response: Usage,
    async answer({ params: { id }, concerns }) {
      concerns(id)
      await found(records.get(id), id)
      const { date, today, thisMonth } = await usage.usageOf(id)
      return { object: 'key.usage', key_id: id, date, today, this_month: thisMonth }
    },
  }),
]

async function found(record: Promise<KeyRecord | undefined>, id: string, param?: string): Promise<KeyRecord> {
  const key = await record
  if (key) return key
  const message = `there is no key "${id.slice(0, 80)}"`
  throw param ? new GatewayError('invalid_request', message, { param }) : new GatewayError('not_found', message)
}

const revoked = (id: string): GatewayError => new GatewayError('key_revoked', `the key ${id} has been revoked`)

function assertNotRevoked(record: KeyRecord): KeyRecord {
  if (record.revokedAt !== undefined) throw revoked(record.id)
  return record
}

function assertFuture(seconds: number | undefined): void {
  if (seconds === undefined || seconds * 1000 > Date.now()) return
  throw new GatewayError('invalid_request', "'expires_at' is over", { param: 'expires_at' })
}

/** As the API shows it: never a digest. */
function shown(record: KeyRecord) {
  const { id, name, user, models, limits, secrets, createdAt, updatedAt, rotatedAt, expiresAt, revokedAt } = record
  const now = Date.now()
  return {
    id,
    object: 'key',
    name,
    user,
    models: models ?? null,
    limits: limits ?? {},
    state: stateOf(record, now),
    secrets: secrets
      .filter((secret) => (secret.expiresAt ?? now + 1) > now)
      .map((secret) => ({
        prefix: secret.prefix,
        created_at: seconds(secret.createdAt),
        expires_at: secondsOrNull(secret.expiresAt),
      })),
    created_at: seconds(createdAt),
    updated_at: seconds(updatedAt),
    rotated_at: secondsOrNull(rotatedAt),
    expires_at: secondsOrNull(expiresAt),
    revoked_at: secondsOrNull(revokedAt),
  }
}

const withText = ({ key, record }: MadeKey) => ({ ...shown(record), key })

const seconds = (time: number): number => Math.floor(time / 1000)
const secondsOrNull = (time: number | undefined): number | null => (time === undefined ? null : seconds(time))
