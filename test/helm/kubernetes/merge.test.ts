import t from 'tap'
import { apply, conflictsOf, duplicatesOf, mergePatch } from './merge.ts'

t.test('a merge patch adds, replaces and removes', async (t) => {
  t.strictSame(mergePatch({ a: 1, b: { c: 2, d: 3 }, e: [1] }, { b: { c: null, f: 4 }, e: [2] }), {
    a: 1,
    b: { d: 3, f: 4 },
    e: [2],
  })
})

t.test('an owner who applies', async (t) => {
  const before = { spec: { replicas: 2, paused: true } }

  t.test('sets what is named, and removes what is not any more', async (t) => {
    t.strictSame(apply(before, before, { spec: { replicas: 3 } }), { spec: { replicas: 3 } })
    t.strictSame(apply(before, before, {}), {})
  })

  t.test('leaves what is of others', async (t) => {
    const live = { ...before, spec: { ...before.spec, strategy: 'theirs' }, status: { ready: 2 } }
    t.strictSame(apply(live, before, { spec: { replicas: 3 } }), {
      spec: { replicas: 3, strategy: 'theirs' },
      status: { ready: 2 },
    })
    t.strictSame(apply(live, before, {}), { spec: { strategy: 'theirs' }, status: { ready: 2 } })
    const scaled = { spec: { replicas: 7 } }
    t.strictSame(apply(scaled, before, { spec: {} }), scaled, 'also what was its own once')
  })

  t.test('knows the elements of some lists, and replaces all others', async (t) => {
    const own = { containers: [{ name: 'a', args: ['1'] }, { name: 'b' }] }
    const live = { containers: [...own.containers, { name: 'injected' }] }
    t.strictSame(apply(live, own, { containers: [{ name: 'a', args: ['2'] }] }), {
      containers: [{ name: 'a', args: ['2'] }, { name: 'injected' }],
    })
    t.strictSame(apply(live, own, {}), { containers: [{ name: 'injected' }] })
    t.strictSame(apply({ rules: [{ name: 'a' }] }, undefined, { rules: [{ name: 'b' }] }), { rules: [{ name: 'b' }] })
  })

  t.test('is in conflict where another has set something else', async (t) => {
    const live = { spec: { replicas: 7, paused: true, containers: [{ name: 'a', image: 'theirs' }] } }
    const own = { spec: { replicas: 2, paused: true, containers: [{ name: 'a', image: 'mine' }] } }
    t.strictSame(conflictsOf(live, own, own), ['.spec.replicas', '.spec.containers[].image'])
    t.strictSame(conflictsOf(live, own, { spec: { replicas: 7, paused: false } }), [], 'not where both say the same')
    t.strictSame(conflictsOf(own, own, { spec: { replicas: 4 } }), [], "not about one's own")
  })

  t.test('names no element twice', async (t) => {
    const ports = (...protocols: string[]) => ({
      ports: protocols.map((protocol) => ({ containerPort: 53, protocol })),
    })
    t.strictSame(duplicatesOf(ports('UDP', 'TCP')), [])
    t.strictSame(duplicatesOf({ containers: [ports('TCP', 'TCP')] }), ['.containers[].ports'])
    t.strictSame(duplicatesOf({ egress: [{ ports: [{ port: 53 }, { port: 53 }] }] }), [], 'where elements are known')
  })
})
