import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

t.test('a tick after a garbage collection looks to V8 as one before it', async (t) => {
  const script = `
    import { executionAsyncResource } from 'node:async_hooks'
    import { keptTick } from ${JSON.stringify(join(import.meta.dirname, '../src/tick-shape.ts'))}
    import { collectGarbage } from ${JSON.stringify(join(import.meta.dirname, '../src/collect-garbage.ts'))}
    setImmediate(() => {
      collectGarbage()
      process.nextTick(() => console.log(%HaveSameMap(keptTick(), executionAsyncResource())))
    })`
  const args = ['--allow-natives-syntax', '--input-type=module', '--eval', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  t.equal(stdout, 'true\n')
})
