import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { newCompletionId, timeOf } from '../../src/completions/completion-id.ts'
import { CompletionRecords } from '../../src/completions/completion-records.ts'
import {
  type ChatCompletion,
  MemoryPersistence,
  PersistedIndex,
  type Persistence,
  ResponseStore,
  type SetOptions,
} from '../../src/index.ts'

/** Records on a persistence that notes how long each value is kept. */
function observed(ttlSeconds: number) {
  const memory = new MemoryPersistence()
  const times = new Map<string, number | undefined>()
  const persistence: Persistence = {
    get: (key) => memory.get(key),
    set(key: string, value: unknown, options: SetOptions = {}) {
      times.set(key, options.ttlSeconds)
      return memory.set(key, value, options)
    },
    delete: (key) => memory.delete(key),
  }
  const store = new ResponseStore({ persistence, ttlSeconds })
  const index = new PersistedIndex(persistence)
  return { records: new CompletionRecords({ store, index, timeoutMs: 1000 }), times }
}

const completion = (id = newCompletionId()): ChatCompletion => ({
  id,
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [],
})
const request = { model: 'm', messages: [{ role: 'user' as const, content: 'x' }] }

t.test('an id tells its time, and is none of anybody else', async (t) => {
  const before = Date.now()
  const id = newCompletionId()
  t.match(id, /^chatcmpl-[0-9a-f]{48}$/)
  t.ok((timeOf(id) ?? 0) >= before && (timeOf(id) ?? 0) <= Date.now())
  t.equal(new Set(Array.from({ length: 1000 }, newCompletionId)).size, 1000)
  for (const other of ['', 'chatcmpl-123', `${id}0`, id.toUpperCase(), `resp_${'0'.repeat(48)}`]) {
    t.equal(timeOf(other), undefined, other)
  }
})

t.test('everything of a completion is kept for its time', async (t) => {
  const { records, times } = observed(3600)
  await records.save(null, completion(), request)
  t.strictSame([...times.values()], [3600, 3600, 3600], 'itself, its messages, and that it is there')
})

t.test('an update does not prolong it', async (t) => {
  const { records, times } = observed(3600)
  const halfAnHourAgo = `chatcmpl-${(Date.now() - 1_800_000).toString(16).padStart(12, '0')}${'0'.repeat(36)}`
  await records.save(null, completion(halfAnHourAgo), request)
  times.clear()
  await records.update(null, halfAnHourAgo, { a: 'b' })
  const [seconds = 0] = times.values()
  t.equal(Math.round(seconds / 60), 30)
})

t.test('one whose time is over is not there, nor in the list', async (t) => {
  const { records } = observed(0.05)
  const { id } = completion()
  await records.save('ann', completion(id), request)
  t.equal((await records.list('ann', {})).data.length, 1)
  await sleep(80)
  t.equal(await records.load('ann', id), undefined)
  t.equal(await records.messages('ann', id), undefined)
  t.equal(await records.update('ann', id, {}), undefined)
  t.equal(await records.remove('ann', id), false)
  t.strictSame((await records.list('ann', {})).data, [])
})

t.test('a list passes over members whose value is gone, however many', async (t) => {
  const memory = new MemoryPersistence()
  const store = new ResponseStore({ persistence: memory })
  const records = new CompletionRecords({ store, index: new PersistedIndex(memory), timeoutMs: 1000 })
  const ids = Array.from({ length: 60 }, newCompletionId).sort()
  for (const id of ids) await records.save('ann', completion(id), request)
  for (const id of ids.slice(5, 55)) await store.delete('ann', id)
  const left = [...ids.slice(0, 5), ...ids.slice(55)]
  const first = await records.list('ann', { limit: 7 })
  t.strictSame(
    first.data.map(({ id }) => id),
    left.slice(0, 7),
  )
  t.equal(first.has_more, true)
  const rest = await records.list('ann', { limit: 7, after: first.last_id })
  t.strictSame(
    rest.data.map(({ id }) => id),
    left.slice(7),
  )
  t.equal(rest.has_more, false)
})

t.test('what is deleted while it is updated stays away', async (t) => {
  const memory = new MemoryPersistence()
  let beforeSet = async (_key: string): Promise<unknown> => undefined
  const persistence: Persistence = {
    get: (key) => memory.get(key),
    async set(key, value, options) {
      await beforeSet(key)
      return memory.set(key, value, options)
    },
    delete: (key) => memory.delete(key),
  }
  const index = new PersistedIndex(memory)
  const updater = new CompletionRecords({ store: new ResponseStore({ persistence }), index, timeoutMs: 1000 })
  const deleter = new CompletionRecords({ store: new ResponseStore({ persistence: memory }), index, timeoutMs: 1000 })
  const stored = completion()
  await updater.save(null, stored, request)
  beforeSet = async (key) => key.includes(stored.id) && deleter.remove(null, stored.id)
  t.equal(await updater.update(null, stored.id, { a: 'b' }), undefined)
  t.equal(await deleter.load(null, stored.id), undefined)
})

t.test('nobody goes on searching for a client that has left', async (t) => {
  const { records } = observed(60)
  const signal = AbortSignal.abort()
  const searched = await records.list(null, { metadata: { a: 'b' } }, { signal }).catch((error: unknown) => error)
  t.match(searched, { code: 'client_closed' })
})
