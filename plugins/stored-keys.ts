import fp from 'fastify-plugin'
import type { AuthPlugin } from '../src/auth/auth-plugin.ts'
import { KeyRecords } from '../src/auth/key-records.ts'
import { StoredKeyAuth } from '../src/auth/stored-key-auth.ts'
import { MemoryPersistence } from '../src/store/memory-persistence.ts'
import { PersistedIndex } from '../src/store/persisted-index.ts'
import type { Store } from './store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Keys of clients that are made while the gateway runs; undefined where there are none. */
    storedKeys?: StoredKeys
  }
}

/** What the admin API and authentication share. */
export interface StoredKeys {
  records: KeyRecords
  /** For the plugin `auth`: the configured keys, then those of the store. */
  auth: StoredKeyAuth
  /** Where they are kept. */
  store: Pick<Store, 'persistence' | 'leases' | 'index'>
}

export interface StoredKeysOptions {
  /** Asked first. Default: none. */
  configured?: AuthPlugin | undefined
  /** True when the store of the app is in this process's memory: then keys have a place of their own. */
  inMemory?: boolean
}

/** Keys in the store. Register it after the store, and before `auth`, which is given its `auth`. */
export const storedKeys = fp<StoredKeysOptions>(
  async (app, { configured, inMemory = false }) => {
    const store = inMemory ? ownMemory(app.store) : app.store
    const records = new KeyRecords(store)
    app.decorate('storedKeys', { records, auth: new StoredKeyAuth({ records, configured }), store })
  },
  { name: 'signalbox-stored-keys', dependencies: ['signalbox-store'] },
)

/** Conversations are many, and would push out keys. */
function ownMemory({ leases }: Store): StoredKeys['store'] {
  const persistence = new MemoryPersistence({ maxEntries: 1_000_000 })
  return { persistence, leases, index: new PersistedIndex(persistence, { maxMembers: 100_000 }) }
}
