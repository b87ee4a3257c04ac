import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  ConversationHistory,
  FilePersistence,
  MemoryPersistence,
  type Persistence,
  storedConversations,
} from '../../src/index.ts'
import { assistant, user } from '../core.ts'

const history = new ConversationHistory([user('1'), { ...assistant('a'), extra: { seed: 1 } } as never])
const key = { userId: 'alice', conversationId: 'c1' }

t.test('what was saved is loaded, in memory and in files', async (t) => {
  const persistences: Persistence[] = [new MemoryPersistence(), new FilePersistence({ directory: t.testdir() })]
  for (const persistence of persistences) {
    const loader = storedConversations(persistence)
    t.equal(await loader.load(key), null)
    await loader.save(key, history)
    const loaded = await loader.load(key)
    t.strictSame(loaded?.messages, history.messages)
  }
})

t.test('a later change of the history does not reach what is kept', async (t) => {
  const loader = storedConversations(new MemoryPersistence())
  const changing = history.fork()
  await loader.save(key, changing)
  changing.append(user('2'))
  t.equal((await loader.load(key))?.messages.length, 2)
})

t.test("a conversation is its user's alone", async (t) => {
  const loader = storedConversations(new MemoryPersistence())
  await loader.save(key, history)
  await loader.save({ userId: 'org', conversationId: 'alice:c1' }, history)
  for (const userId of [null, 'bob', 'anon', '', 'ALICE', 'org:alice']) {
    t.equal(await loader.load({ userId, conversationId: 'c1' }), null, JSON.stringify(userId))
  }
})

t.test('the prefix and the lifetime are to choose', async (t) => {
  const persistence = new MemoryPersistence()
  const loader = storedConversations(persistence, { keyPrefix: 'mine:', ttlSeconds: 0.05 })
  await loader.save(key, history)
  t.match(await persistence.get('mine:{user:alice:c1}'), { version: 1 })
  t.ok(await loader.load(key))
  await sleep(80)
  t.equal(await loader.load(key), null)
})

t.test('what it does not understand is an error, and stays', async (t) => {
  const persistence = new MemoryPersistence()
  const loader = storedConversations(persistence)
  for (const snapshot of [{ version: 2, messages: [] }, null, 'text', { version: 1 }, { version: 1, messages: [{}] }]) {
    await persistence.set('conversation:{user:alice:c1}', snapshot)
    await t.rejects(async () => loader.load(key), TypeError)
    t.strictSame(await persistence.get('conversation:{user:alice:c1}'), snapshot)
  }
})
