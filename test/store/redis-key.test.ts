import fc from 'fast-check'
import t from 'tap'
import { redisKey, slotOf } from '../../src/store/redis-key.ts'

/** What a cluster looks at: what is in the first braces, if there is something; else all of it. */
function hashedPartOf(key: string): string {
  const open = key.indexOf('{')
  const close = key.indexOf('}', open + 1)
  return open === -1 || close === -1 || close === open + 1 ? key : key.slice(open + 1, close)
}

const kinds = ['value', 'lease', 'fence', 'queue', 'seen'] as const
const anyKey = fc.oneof(
  fc.string({ unit: fc.constantFrom('{', '}', 'a', ':', '\ud800', 'é') }),
  fc.integer({ min: 500, max: 520 }).map((length) => `{${'x'.repeat(length)}}`),
)

t.test('what stands in braces can be read in the key', async (t) => {
  t.equal(redisKey('value', 'conversation:{user:alice:c1}'), 'value:conversation:{user:alice:c1}')
  t.equal(redisKey('lease', '{user:alice:c1}'), 'lease:{user:alice:c1}')
})

t.test('a long key is kept as its hash, beside the same part in braces', async (t) => {
  const key = redisKey('value', `${'x'.repeat(10_000)}{user:alice:c1}`)
  t.match(key, /^value#\{user:alice:c1\}[0-9a-f]{64}$/)
})

t.test('all that is kept of one key is in one slot', async (t) => {
  const property = fc.property(anyKey, (key) => {
    const parts = kinds.map((kind) => hashedPartOf(redisKey(kind, key)))
    return parts.every((part) => part === parts[0])
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('keys of which it is said that they are in one slot are', async (t) => {
  const property = fc.property(anyKey, anyKey, anyKey, (tag, one, other) => {
    const [a, b] = [`${one}{${tag}}`, `${other}{${tag}}:rest`]
    const [slotA, slotB] = [hashedPartOf(redisKey('value', a)), hashedPartOf(redisKey('lease', b))]
    return slotOf(a) !== slotOf(b) || slotA === slotB
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
  t.equal(slotOf('a:{tag}'), slotOf('b:{tag}:c'))
  t.equal(slotOf(`${'x'.repeat(600)}{tag}`), slotOf('{tag}'))
  t.not(slotOf('a'), slotOf('b'))
})

t.test('different keys, or different things of one key, never become one', async (t) => {
  const kind = fc.constantFrom(...kinds)
  const property = fc.property(kind, anyKey, kind, anyKey, (kind, key, otherKind, otherKey) => {
    const isSame = kind === otherKind && key === otherKey
    return isSame === (redisKey(kind, key) === redisKey(otherKind, otherKey))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
  t.not(redisKey('value', '\ud800'), redisKey('value', '\ufffd'))
})
