import t, { type Test } from 'tap'
import { TargetStates } from '../../src/admin/target-states.ts'
import { MemoryLeases, MemoryPersistence, StoreUnavailable } from '../../src/index.ts'
import { TargetSwitch } from '../../src/router/target-switch.ts'
import { eventually } from '../core.ts'

const target = { provider: 'openai', model: 'small' }

/** A store, and replicas that look at it all the time. */
function cluster(t: Test) {
  const store = { persistence: new MemoryPersistence(), leases: new MemoryLeases() }
  const replica = async () => {
    const targetSwitch = new TargetSwitch()
    const states = new TargetStates({ ...store, targetSwitch, pollMs: 10 })
    t.teardown(() => states.close())
    await states.start()
    return { targetSwitch, states }
  }
  return { store, replica }
}

t.test('what one takes out is out there at once, and at the others soon', async (t) => {
  const { replica } = cluster(t)
  const [one, other] = [await replica(), await replica()]
  await one.states.drain('openai/small', 'ops')
  t.equal(one.targetSwitch.isDrained(target), true)
  await eventually(() => other.targetSwitch.isDrained(target))
  t.match(other.states.drained, { 'openai/small': { by: 'ops', at: Number } })
  await other.states.undrain('openai/small')
  t.equal(other.targetSwitch.isDrained(target), false)
  await eventually(() => !one.targetSwitch.isDrained(target))
})

t.test('a replica that starts later knows it before it serves', async (t) => {
  const { replica } = cluster(t)
  await (await replica()).states.drain('openai/small', 'ops')
  t.equal((await replica()).targetSwitch.isDrained(target), true)
})

t.test('it stays with who took it out first', async (t) => {
  const { replica } = cluster(t)
  const { states } = await replica()
  await states.drain('openai/small', 'ann')
  await states.drain('openai/small', 'bob')
  t.equal(states.drained['openai/small']?.by, 'ann')
})

t.test('of what is taken out at once, nothing is lost', async (t) => {
  const { replica } = cluster(t)
  const [one, other] = [await replica(), await replica()]
  const names = Array.from({ length: 20 }, (_, n) => `openai/${n}`)
  await Promise.all(names.map((name, n) => (n % 2 ? one : other).states.drain(name, 'ops')))
  await one.states.refresh()
  t.strictSame(Object.keys(one.states.drained).sort(), names.sort())
})

t.test('while the store is away, what was known holds, and nothing can be changed', async (t) => {
  const { store, replica } = cluster(t)
  const { states, targetSwitch } = await replica()
  await states.drain('openai/small', 'ops')
  const { get } = store.persistence
  let asked = 0
  store.persistence.get = async () => {
    asked++
    throw new Error('away')
  }
  await eventually(() => asked > 3)
  t.equal(targetSwitch.isDrained(target), true)
  await t.rejects(states.undrain('openai/small'), StoreUnavailable)
  const late = await replica()
  t.equal(late.targetSwitch.isDrained(target), false, 'who starts meanwhile starts all the same')
  store.persistence.get = get
  await eventually(() => late.targetSwitch.isDrained(target))
})
