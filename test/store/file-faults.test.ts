import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { FilePersistence } from '../../src/index.ts'
import { fileNameOf } from '../../src/store/record-file.ts'
import { Program } from '../process.ts'

let directories = 0
/** A directory that is not there yet. */
const freshDirectory = (): string => join(t.testdirName, String(directories++))
t.testdir({})

/** A directory that every user may enter, unlike perhaps those above {@link freshDirectory}. */
function openDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'file-faults-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function eventually(holds: () => boolean): Promise<boolean> {
  for (let waited = 0; waited < 5000 && !holds(); waited += 1) await sleep(1)
  return holds()
}

t.test('a directory that is removed while it is in use is made again', async (t) => {
  const directory = freshDirectory()
  const store = new FilePersistence({ directory })
  await store.set('k', 1)
  rmSync(directory, { recursive: true })
  t.equal(await store.get('k'), undefined)
  t.equal(await store.delete('k'), false)
  await store.set('k', 2)
  t.equal(await store.get('k'), 2)
})

t.test('a write succeeds though another process starts on the directory and removes its draft', async (t) => {
  const directory = freshDirectory()
  const store = new FilePersistence({ directory })
  const another = new URL('../../src/store/atomic-file.ts?another', import.meta.url).href
  const { removeLeftovers }: { removeLeftovers: (directory: string) => Promise<void> } = await import(another)
  await store.get('k')
  const isWriting = (): boolean => readdirSync(directory).some((name) => name.endsWith('.tmp'))
  let removed = 0
  // A draft may be gone before it is seen; rounds go on until enough were removed.
  for (let n = 0; n < 100 && removed < 5; n++) {
    const writing = store.set('k', `${n}${'x'.repeat(1_000_000)}`)
    await Promise.race([writing, eventually(isWriting)])
    if (isWriting()) removed += 1
    await removeLeftovers(directory)
    await writing
    t.match(await store.get('k'), new RegExp(`^${n}x`))
  }
  t.equal(removed, 5)
})

t.test('where nothing may be written, values can still be read', async (t) => {
  const directory = openDirectory(t)
  const writer = new FilePersistence({ directory })
  await writer.set('k', 1)
  await writer.set('over', 1, { ttlSeconds: 0.01 })
  writeFileSync(join(directory, fileNameOf('corrupt')), 'broken')
  writeFileSync(join(directory, `${fileNameOf('k')}.01234567-89ab-4cde-8f01-23456789abcd.7.tmp`), 'half')
  for (const name of readdirSync(directory)) chmodSync(join(directory, name), 0o444)
  chmodSync(directory, 0o555)
  await sleep(20)
  // Root may write anywhere.
  const user = process.geteuid?.()
  if (user === 0) process.seteuid?.(65_534)
  t.teardown(() => process.seteuid?.(user ?? 0))

  const reports: string[] = []
  const store = new FilePersistence({ directory, onCorrupt: (file) => reports.push(file) })
  t.equal(await store.get('k'), 1)
  t.equal(await store.get('over'), undefined)
  t.equal(await store.get('corrupt'), undefined)
  t.strictSame(reports, [join(directory, fileNameOf('corrupt'))])
  await t.rejects(store.set('k', 2), { code: 'EACCES' })
  await t.rejects(store.delete('k'), { code: 'EACCES' })
  t.equal(await store.get('k'), 1)
})

t.test('a file that cannot be set aside is reported all the same, and replaced', async (t) => {
  const directory = freshDirectory()
  const reports: string[] = []
  const store = new FilePersistence({ directory, onCorrupt: (file) => reports.push(file) })
  await store.set('k', 1)
  const file = join(directory, fileNameOf('k'))
  writeFileSync(file, 'broken')
  mkdirSync(join(`${file}.corrupt`, 'full'), { recursive: true })
  t.equal(await store.get('k'), undefined)
  t.equal(await store.delete('k'), false)
  t.strictSame(reports, [file, file])
  await store.set('k', 2)
  t.equal(await store.get('k'), 2)
})

t.test('within a limit', async (t) => {
  const script = fileURLToPath(new URL('many-writes.ts', import.meta.url))
  const limited = async (t: Test, limit: string, size: number) => {
    const directory = freshDirectory()
    const node = [process.execPath, '--conditions=signalbox-source', script, directory, String(size)]
    const child = new Program(t, 'sh', { args: ['-c', `ulimit ${limit} && exec "$0" "$@"`, ...node] })
    const { stdout, stderr } = await child.exited
    const drafts = readdirSync(directory).filter((name) => name.endsWith('.tmp'))
    return { ...JSON.parse(stdout || `{"stderr":${JSON.stringify(stderr)}}`), drafts }
  }

  t.test('of open files, more writes at once wait for one another', async (t) => {
    t.strictSame(await limited(t, '-n 60', 10), { failed: 0, large: 'none', k0: 10, drafts: [] })
  })

  t.test('of space, a write that finds too little leaves the old value and nothing of its own', async (t) => {
    t.strictSame(await limited(t, '-f 100', 1_000_000), { failed: 0, large: 'EFBIG', k0: 1, drafts: [] })
  })
})

t.test(
  'no file stays open',
  { skip: existsSync('/proc/self/fd') ? false : 'only where it can be counted' },
  async (t) => {
    const directory = freshDirectory()
    const store = new FilePersistence({ directory, onCorrupt: () => {} })
    const openFiles = (): number => readdirSync('/proc/self/fd').length
    await store.set('k', 1)
    const before = openFiles()
    for (let n = 0; n < 50; n++) {
      await store.set('k', n)
      await store.get('none')
      writeFileSync(join(directory, fileNameOf('corrupt')), 'broken')
      await store.get('corrupt')
      mkdirSync(join(directory, fileNameOf('blocked')), { recursive: true })
      await t.rejects(store.set('blocked', 1))
      await store.delete('k')
    }
    t.ok(openFiles() <= before + 2, `${before} before, ${openFiles()} now`)
  },
)

t.test('two of one process on one directory do not lose what the other writes', async (t) => {
  const directory = freshDirectory()
  const one = new FilePersistence({ directory, onCorrupt: () => {} })
  const other = new FilePersistence({ directory: relative(process.cwd(), directory) })
  for (let n = 0; n < 100; n++) {
    await one.set('over', 'old', { ttlSeconds: 0.001 })
    writeFileSync(join(directory, fileNameOf('corrupt')), 'x'.repeat(n * 1000))
    await sleep(2)
    const reading = [one.get('over'), one.delete('over'), one.get('corrupt')]
    await Promise.all([...reading, other.set('over', n), other.set('corrupt', n)])
    t.strictSame([await one.get('over'), await one.get('corrupt')], [n, n])
  }
})

t.test('files whose time is over go though nobody asks for them', async (t) => {
  t.teardown(() => mock.timers.reset())
  const directory = freshDirectory()
  const store = new FilePersistence({ directory })
  await store.set('for good', { expiresAt: 1 })
  await store.set('long', 1, { ttlSeconds: 36_000 })
  await store.set('x'.repeat(10_000), 1, { ttlSeconds: 0.01 })
  writeFileSync(join(directory, 'README.md'), '{"version":1,"expiresAt":1,')
  await sleep(20)

  const stays = ['README.md', fileNameOf('for good'), fileNameOf('long')].sort()
  t.equal(readdirSync(directory).length, 4)
  await new FilePersistence({ directory }).get('another')
  t.ok(await eventually(() => readdirSync(directory).length === 3), 'when a process starts on the directory')
  t.strictSame(readdirSync(directory).sort(), stays)

  await store.set('short', 1, { ttlSeconds: 60 })
  mock.timers.enable({ apis: ['Date'], now: Date.now() + 3_700_000 })
  await store.get('another')
  t.ok(await eventually(() => readdirSync(directory).length === 3), 'and an hour later, when it is used')
  t.strictSame(readdirSync(directory).sort(), stays)
})
