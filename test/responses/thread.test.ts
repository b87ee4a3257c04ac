import t from 'tap'
import { blockSize, extended, newThread, type ThreadBlock } from '../../src/responses/thread.ts'

t.test('a thread of any length lists all before it, in order, and each part of it is short', async (t) => {
  const blocks = new Map<string, ThreadBlock>()
  let thread = newThread('r0')
  const turns = 40 * blockSize
  for (let n = 1; n <= turns; n++) {
    const last = thread.block === null ? undefined : blocks.get(thread.block)
    const before = [...(last?.before ?? []).map((id) => blocks.get(id)), last].flatMap((block) => block?.ids ?? [])
    if (before.length + thread.ids.length !== n - 1) t.fail(`before ${n} there are ${before.length}`)
    const next = extended(thread, `r${n - 1}`, `r${n}`, last?.before ?? [])
    if (next.block) blocks.set(`r${n}`, next.block)
    thread = next.thread
    if (thread.root !== 'r0' || thread.ids.length >= blockSize) t.fail(`${n}: ${JSON.stringify(thread)}`)
  }
  const last = blocks.get(thread.block ?? '')
  const all = [...(last?.before ?? []).map((id) => blocks.get(id)), last].flatMap((block) => block?.ids ?? [])
  t.strictSame(
    [...all, ...thread.ids],
    Array.from({ length: turns }, (_, n) => `r${n}`),
  )
  t.equal(blocks.size, turns / blockSize)
})

t.test('two that go on from one do not touch each other', async (t) => {
  const thread = { root: 'r0', block: null, ids: ['r0', 'r1'] }
  t.strictSame(extended(thread, 'r2', 'a', []), { thread: { ...thread, ids: ['r0', 'r1', 'r2'] } })
  t.strictSame(extended(thread, 'r2', 'b', []).thread.ids, ['r0', 'r1', 'r2'])
  t.strictSame(thread.ids, ['r0', 'r1'])
})
