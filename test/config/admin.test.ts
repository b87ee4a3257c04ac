import t from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseConfig } from '../../src/config/load.ts'

function problemsOf(yaml: string): readonly string[] {
  try {
    parseConfig(yaml, 'the test', {})
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}
const key = 'admin-key-of-ops-1'
const digest = '3e8c9f3d9a7c4b1e'.repeat(4)

t.test('it is off unless told', async (t) => {
  t.strictSame(parseConfig('', 'the test', {}).admin, { enabled: false, keys: [] })
})

t.test('on, it needs keys, each with a name', async (t) => {
  t.strictSame(problemsOf('admin: { enabled: true }'), ['admin.keys: the admin API needs at least one key'])
  t.strictSame(problemsOf(`admin: { enabled: true, keys: [{ name: ops, key: ${key} }] }`), [])
  t.strictSame(problemsOf(`admin: { enabled: true, keys: [{ name: ops, sha256: ${digest} }] }`), [])
  t.match(problemsOf(`admin: { enabled: true, keys: [{ key: ${key} }] }`), [/admin.keys.0: .*name/])
  t.match(problemsOf('admin: { enabled: true, keys: [{ name: ops, key: short }] }'), [/admin.keys.0.key/])
})

t.test('a key is given in one way, once, with one name', async (t) => {
  t.strictSame(problemsOf('admin: { keys: [{ name: a }] }'), ['admin.keys.0: give either key or sha256'])
  t.strictSame(problemsOf(`admin: { keys: [{ name: a, key: ${key} }, { name: b, key: ${key} }] }`), [
    'admin.keys: the same API key is listed twice',
  ])
  t.strictSame(problemsOf(`admin: { keys: [{ name: a, key: ${key} }, { name: a, key: ${key}2 }] }`), [
    'admin.keys: the same name is listed twice',
  ])
})

t.test('clients must not have it', async (t) => {
  t.strictSame(problemsOf(`{ auth: { keys: [{ key: ${key} }] }, admin: { keys: [{ name: ops, key: ${key} }] } }`), [
    'admin.keys.0: is a key of auth.keys, too; clients must not have it',
  ])
})

t.test('a port of its own is one that nobody else has', async (t) => {
  const keys = `keys: [{ name: ops, key: ${key} }]`
  t.strictSame(problemsOf(`{ server: { port: 4000 }, admin: { port: 4000, ${keys} } }`), [
    'admin.port: is server.port, too; leave it out to serve the admin API there',
  ])
  t.strictSame(problemsOf(`{ metrics: { port: 9000 }, admin: { port: 9000, ${keys} } }`), [
    'admin.port: is metrics.port, too; leave it out to serve the admin API there',
  ])
  t.strictSame(problemsOf(`{ server: { port: 0 }, metrics: { port: 0 }, admin: { port: 0, ${keys} } }`), [])
})
