import fc from 'fast-check'
import t from 'tap'
import { userKey } from '../../src/store/stored-key.ts'

t.test('a key names the thing and whose it is', async (t) => {
  t.equal(userKey('conversation:', 'alice', 'c1'), 'conversation:{user:alice:c1}')
  t.equal(userKey('conversation:', 'org:alice', 'c 1/é'), 'conversation:{user:org%3Aalice:c%201%2F%C3%A9}')
})

t.test('all keys of one thing have one part in braces, whatever the user and the id are called', async (t) => {
  for (const [user, id] of [
    ['alice', 'c1'],
    ['{', '}'],
    [null, '{}'],
    ['a{b}c', '{d}'],
    ['\ud800', ''],
  ] as const) {
    const [one, other] = [userKey('conversation:', user, id), userKey('lease:', user, id)]
    t.match(one, /^conversation:\{[^{}]+\}$/)
    t.equal(other, one.replace('conversation:', 'lease:'))
  }
})

t.test('where one part ends and the next begins is never in doubt', async (t) => {
  t.not(userKey('', 'org', 'alice:c1'), userKey('', 'org:alice', 'c1'))
  t.not(userKey('', 'a%3Ab', 'c'), userKey('', 'a:b', 'c'))
  t.not(userKey('', 'a:', 'b'), userKey('', 'a', ':b'))
})

t.test('nobody is not a user, whatever that user is called', async (t) => {
  for (const name of ['anon', '', 'null', 'user:anon', ':']) {
    t.not(userKey('', null, 'c1'), userKey('', name, 'c1'), JSON.stringify(name))
  }
  t.not(userKey('', null, 'user:anon:c1'), userKey('', 'anon', 'c1'))
})

t.test('half a character is a character of its own, and no error', async (t) => {
  const keys = ['\ud800', '\udfff', '\ufffd', '😀', '%ud800', 'a\ud800b', 'a\ufffdb'].map((id) => userKey('', id, 'c1'))
  t.equal(new Set(keys).size, keys.length)
})

t.test('two users, or two things, never have one key', async (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', ':', '%', '2', '5', 'é', '\ud83d', '\ude00', 'u') })
  const user = fc.option(text)
  const property = fc.property(user, text, user, text, (user, id, otherUser, otherId) => {
    const isSame = user === otherUser && id === otherId
    return isSame === (userKey('p:', user, id) === userKey('p:', otherUser, otherId))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})
