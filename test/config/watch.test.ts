import { appendFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ReadFiles } from '../../src/config/read-files.ts'
import { type WatchOptions, watchFiles } from '../../src/config/watch.ts'
import { Mounted, replaceFile } from '../mounted.ts'
import { until } from '../redis-server.ts'

/** Long enough that only the file system can have told. */
const never = 60_000

/** Reads a file again and again; what it read, or why it could not, is in `texts`. */
async function watched(t: Test, path: string, options: Partial<WatchOptions> = {}) {
  const texts: string[] = []
  let files = new ReadFiles()
  const read = async (): Promise<void> => {
    const fresh = new ReadFiles()
    texts.push(await fresh.text(path).catch((error: NodeJS.ErrnoException) => String(error.code)))
    files = fresh
  }
  await read()
  const watching = watchFiles({ files: () => files, onChange: read, intervalMs: never, settleMs: 20, ...options })
  t.teardown(() => watching.close())
  return { texts, saw: (text: string) => until(() => texts.at(-1) === text, `${text} was read`), watching }
}

t.test('a file that is written in place', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { saw } = await watched(t, path)
  await writeFile(path, 'two')
  await saw('two')
  await writeFile(path, 'three')
  await saw('three')
})

t.test('a file that another one is renamed over, twice', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { saw } = await watched(t, path)
  await replaceFile(path, 'two')
  await saw('two')
  await replaceFile(path, 'three')
  await saw('three')
})

t.test('a ConfigMap that the kubelet swaps, again and again', async (t) => {
  const directory = t.testdir({})
  const mounted = new Mounted(directory)
  await mounted.update({ file: 'one' })
  const { saw } = await watched(t, join(directory, 'file'))
  for (const text of ['two', 'three', 'four']) {
    await mounted.update({ file: text })
    await saw(text)
  }
})

t.test('a file that goes, and comes back', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { saw } = await watched(t, path)
  await rm(path)
  await saw('ENOENT')
  await writeFile(path, 'one')
  await saw('one')
})

t.test('a file that is half written is not read before it is whole', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { texts, saw } = await watched(t, path, { settleMs: 2000 })
  await writeFile(path, 'tw')
  await sleep(100)
  await appendFile(path, 'o')
  await saw('two')
  t.strictSame(texts, ['one', 'two'])
})

t.test('what has the same content is not read again', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { texts, saw } = await watched(t, path)
  await replaceFile(path, 'one')
  await writeFile(path, 'one')
  await writeFile(path, 'two')
  await saw('two')
  t.strictSame(texts, ['one', 'two'])
})

t.test('where the file system does not tell, a look now and then', async (t) => {
  t.test('in a directory that was not there', async (t) => {
    const directory = join(t.testdir({}), 'later')
    const { texts, saw } = await watched(t, join(directory, 'file'), { intervalMs: 50 })
    t.strictSame(texts, ['ENOENT'])
    await mkdir(directory)
    await writeFile(join(directory, 'file'), 'one')
    await saw('one')
  })

  t.test('behind a link to elsewhere', async (t) => {
    const directory = t.testdir({ here: {}, there: { file: 'one' } })
    const [link, real] = [join(directory, 'here', 'file'), join(directory, 'there', 'file')]
    await symlink(real, link)
    const { saw } = await watched(t, link, { intervalMs: 50 })
    await writeFile(real, 'two')
    await saw('two')
  })
})

t.test('what fails to be read is looked at again', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const errors: unknown[] = []
  let files = new ReadFiles()
  await files.text(path)
  let fails = true
  const onChange = async (): Promise<void> => {
    if (fails) throw new Error('not now')
    files = new ReadFiles()
    await files.text(path)
  }
  const onError = (error: unknown): void => {
    errors.push(error)
    fails = false
  }
  const watching = watchFiles({ files: () => files, onChange, onError, intervalMs: 50, settleMs: 10 })
  t.teardown(() => watching.close())
  const before = files.fingerprint
  await writeFile(path, 'two')
  await until(() => files.fingerprint !== before, 'it was read after all')
  t.match(errors, [{ message: 'not now' }])
})

t.test('once it is closed nothing is read', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const { texts, watching } = await watched(t, path, { intervalMs: 10 })
  watching.close()
  await writeFile(path, 'two')
  await sleep(200)
  t.strictSame(texts, ['one'])
})
