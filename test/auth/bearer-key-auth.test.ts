import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { BearerKeyAuth } from '../../src/index.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const bearer = (key: string): Headers => new Headers({ authorization: `Bearer ${key}` })
const userOf = (auth: BearerKeyAuth, key: string): string => auth.verify(bearer(key)).userId

t.test('a map leads from key to user', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-prod-abc123': 'user-alice', 'sk-dev-xyz789': 'user-bob' } })
  t.strictSame(auth.verify(bearer('sk-prod-abc123')), { userId: 'user-alice' })
  t.strictSame(auth.verify(bearer('sk-dev-xyz789')), { userId: 'user-bob' })
})

t.test("a listed key's user is key: and its prefix", async (t) => {
  const auth = new BearerKeyAuth({ keys: ['sk-abcdefghijkl'] })
  t.match(userOf(auth, 'sk-abcdefghijkl'), /^key:sk-abc-[0-9a-f]{8}$/)

  t.test('and a short hash, so that two keys with one prefix are two users', async (t) => {
    const keys = ['sk-abcdefghijkl', 'sk-abcdefghijkm', 'sk-abcdefxxxxxx']
    const auth = new BearerKeyAuth({ keys })
    t.equal(new Set(keys.map((key) => userOf(auth, key))).size, keys.length)
  })

  t.test('which is the same on every replica and after every restart', async (t) => {
    t.equal(
      userOf(new BearerKeyAuth({ keys: ['other-key', 'sk-abcdefghijkl'] }), 'sk-abcdefghijkl'),
      userOf(auth, 'sk-abcdefghijkl'),
    )
    t.match(userOf(auth, 'sk-abcdefghijkl'), sha256('sk-abcdefghijkl').slice(0, 8))
  })

  t.test('but never more than half of a short one', async (t) => {
    t.match(userOf(new BearerKeyAuth({ keys: ['abcd'] }), 'abcd'), /^key:ab-[0-9a-f]{8}$/)
  })
})

t.test('a key may bring its user and its models', async (t) => {
  const auth = new BearerKeyAuth({
    keys: [
      { key: 'sk-one-0001', user: 'alice', models: ['openai/*', 'fast'] },
      { key: 'sk-two-0002', models: [] },
      { key: 'sk-three-03', user: 'carol' },
      'sk-four-0004',
    ],
  })
  t.strictSame(auth.verify(bearer('sk-one-0001')), { userId: 'alice', metadata: { models: ['openai/*', 'fast'] } })
  t.match(auth.verify(bearer('sk-two-0002')), { userId: /^key:sk-tw/, metadata: { models: [] } })
  t.strictSame(auth.verify(bearer('sk-three-03')), { userId: 'carol' })
  t.match(auth.verify(bearer('sk-four-0004')), { userId: /^key:sk-fo/ })
})

t.test('a key may be given as its SHA-256', async (t) => {
  const auth = new BearerKeyAuth({
    keys: [{ sha256: sha256('sk-hidden-key'), user: 'dora' }, { sha256: sha256('sk-other-key').toUpperCase() }],
  })
  t.equal(userOf(auth, 'sk-hidden-key'), 'dora')
  t.match(userOf(auth, 'sk-other-key'), /^key:sha256-[0-9a-f]{8}$/)
  t.throws(() => auth.verify(bearer(sha256('sk-hidden-key'))), { message: /incorrect/ }, 'the digest itself is no key')
})

t.test('the scheme is Bearer, in any case, and blanks around the key are none of it', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-key': 'alice' } })
  for (const authorization of [
    'Bearer sk-key',
    'bearer sk-key',
    'BEARER sk-key',
    'Bearer   sk-key',
    'Bearer sk-key ',
  ]) {
    t.equal(auth.verify(new Headers({ authorization })).userId, 'alice', authorization)
  }
})

t.test('anything else throws, and says what was wrong', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-key': 'alice' } })
  t.throws(() => auth.verify(new Headers()), { message: /no API key was sent/ })
  for (const authorization of ['Basic sk-key', 'sk-key', 'Bearer', 'Bearer ', 'Bearersk-key', 'Bearer sk-key extra']) {
    t.throws(() => auth.verify(new Headers({ authorization })), { message: /not of the form/ }, authorization)
  }
  for (const key of ['sk-ke', 'sk-keyy', 'SK-KEY', 'alice', 'constructor', '__proto__', 'undefined']) {
    t.throws(() => auth.verify(bearer(key)), { message: 'incorrect API key' }, key)
  }
  t.throws(() => auth.verify(new Headers({ 'x-api-key': 'sk-key' })), { message: /no API key was sent/ })
})

t.test('the error of a wrong key does not repeat it', async (t) => {
  const auth = new BearerKeyAuth({ keys: ['sk-right-key'] })
  const key = fc.stringMatching(/^[A-Za-z0-9_-]{12,60}$/)
  const property = fc.property(key, (wrong) => {
    try {
      auth.verify(bearer(wrong))
      return false
    } catch (error) {
      return error instanceof Error && !error.message.includes(wrong)
    }
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('a key that was taken from its header already is verified alike', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-key': 'alice' } })
  t.strictSame(auth.verifyKey('sk-key'), { userId: 'alice' })
  t.throws(() => auth.verifyKey('sk-other'), { message: 'incorrect API key' })
  t.throws(() => auth.verifyKey(''), { message: 'incorrect API key' })
})

t.test('no keys let nobody in', async (t) => {
  t.throws(() => new BearerKeyAuth({ keys: [] }).verify(bearer('sk-key')), { message: 'incorrect API key' })
})

t.test('a key that is none is refused at once', async (t) => {
  for (const keys of [[''], [{}], [{ user: 'alice' }], [{ key: '', user: 'x' }]]) {
    t.throws(() => new BearerKeyAuth({ keys }), { message: /needs its text or its sha256/ }, JSON.stringify(keys))
  }
  const digest = sha256('x')
  for (const bad of ['abc', digest.slice(1), `${digest}0`, `${digest}00`, `zz${digest.slice(2)}`]) {
    t.throws(() => new BearerKeyAuth({ keys: [{ sha256: bad }] }), { message: /64 hexadecimal digits/ }, bad)
  }
})

t.test('a key that is listed twice is refused: whose would it be?', async (t) => {
  t.throws(() => new BearerKeyAuth({ keys: ['sk-key', 'sk-key'] }), { message: /listed twice/ })
  t.throws(
    () =>
      new BearerKeyAuth({
        keys: [
          { key: 'sk-key', user: 'a' },
          { sha256: sha256('sk-key'), user: 'b' },
        ],
      }),
    {
      message: /listed twice/,
    },
  )
})

t.test('a key with limits has a name of its own, which does not give it away', async (t) => {
  const limits = { requestsPerMinute: 5 }
  const auth = new BearerKeyAuth({
    keys: ['sk-one-0001', 'sk-two-0002'].map((key) => ({ key, user: 'alice', limits })),
  })
  const [one, two] = ['sk-one-0001', 'sk-two-0002'].map((key) => auth.verifyKey(key))
  t.match(one, { userId: 'alice', keyId: /^key_[\da-f]{16}$/, limits })
  t.not(one?.keyId, two?.keyId)
})

t.test('a key is good from its one time to its other', async (t) => {
  const auth = new BearerKeyAuth({
    keys: [
      { key: 'sk-old', user: 'alice', expiresAt: '2027-01-31T12:00:00+02:00' },
      { key: 'sk-new', user: 'alice', notBefore: '2027-01-31T09:00:00Z' },
    ],
  })
  const now = t.capture(Date, 'now', () => Date.parse('2027-01-31T08:59:59.999Z'))
  t.strictSame(auth.verify(bearer('sk-old')), { userId: 'alice' })
  t.throws(() => auth.verify(bearer('sk-new')), { message: 'the API key is not valid yet' })
  now.restore()
  const overlap = t.capture(Date, 'now', () => Date.parse('2027-01-31T09:59:59.999Z'))
  t.strictSame(auth.verify(bearer('sk-old')), auth.verify(bearer('sk-new')), 'they overlap')
  overlap.restore()
  t.capture(Date, 'now', () => Date.parse('2027-01-31T10:00:00Z'))
  t.throws(() => auth.verify(bearer('sk-old')), { message: 'the API key has expired' })
  t.strictSame(auth.verify(bearer('sk-new')), { userId: 'alice' })
  for (const time of ['soon', '']) {
    t.throws(() => new BearerKeyAuth({ keys: [{ key: 'sk', expiresAt: time }] }), { message: /is not a time/ })
  }
})

t.test('it can take over the keys of another one', async (t) => {
  const auth = new BearerKeyAuth({ keys: { 'sk-a': 'alice', 'sk-b': 'bob' } })
  auth.become(new BearerKeyAuth({ keys: { 'sk-b': 'bobby', 'sk-c': 'carol' } }))
  t.throws(() => auth.verify(bearer('sk-a')), { message: 'incorrect API key' })
  t.strictSame(auth.verify(bearer('sk-b')), { userId: 'bobby' })
  t.strictSame(auth.verify(bearer('sk-c')), { userId: 'carol' })
})
