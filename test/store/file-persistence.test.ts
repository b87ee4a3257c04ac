import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FilePersistence, MemoryLeases } from '../../src/index.ts'
import { Program } from '../process.ts'
import { guardsWrites } from './fencing-contract.ts'
import { keepsTheContract } from './persistence-contract.ts'

let directories = 0
/** A directory that is not there yet. */
const freshDirectory = (): string => join(t.testdirName, String(directories++))
t.testdir({})

/** A persistence that notes what it reports. */
function observed(directory = freshDirectory()) {
  const reports: { file: string; error: Error }[] = []
  const store = new FilePersistence({ directory, onCorrupt: (file, error) => reports.push({ file, error }) })
  return { directory, reports, store }
}

/** The only file of a directory. */
function onlyFileIn(directory: string): string {
  const [name = '', ...others] = readdirSync(directory)
  if (others.length > 0) throw new Error(`there are more: ${others}`)
  return join(directory, name)
}

t.test('as every persistence', async (t) => {
  keepsTheContract(t, () => new FilePersistence({ directory: freshDirectory() }))
})

t.test('leases guard its values', async (t) => {
  guardsWrites(t, () => ({ leases: new MemoryLeases(), store: new FilePersistence({ directory: freshDirectory() }) }))
})

t.test('what one process wrote, the next one reads', async (t) => {
  const directory = freshDirectory()
  await new FilePersistence({ directory }).set('k', { n: 1 }, { ttlSeconds: 3600 })
  await new FilePersistence({ directory }).set('short', 1, { ttlSeconds: 0.02 })
  await sleep(40)
  const next = new FilePersistence({ directory })
  t.strictSame(await next.get('k'), { n: 1 })
  t.equal(await next.get('short'), undefined)
})

t.test('on the disk', async (t) => {
  t.test('every name is one that any file system takes, and tells nothing of the key', async (t) => {
    const { directory, store } = observed()
    for (const key of ['', '..', 'a/b', 'Alice', 'alice', 'x'.repeat(10_000), '\ud800']) await store.set(key, 1)
    const names = readdirSync(directory)
    t.equal(new Set(names).size, 7)
    for (const name of names) t.match(name, /^[0-9a-f]{64}\.json$/)
  })

  t.test('the key is kept inside, beside the value', async (t) => {
    const { directory, store } = observed()
    await store.set('user:alice', { n: 1 })
    t.strictSame(JSON.parse(readFileSync(onlyFileIn(directory), 'utf8')), {
      version: 1,
      key: 'user:alice',
      value: { n: 1 },
    })
  })

  t.test('only its user may read it', async (t) => {
    const { directory, store } = observed()
    await store.set('k', 1)
    t.equal(statSync(directory).mode & 0o077, 0)
    t.equal(statSync(onlyFileIn(directory)).mode & 0o077, 0)
  })

  t.test('nothing is left of what was deleted or is over', async (t) => {
    const { directory, store } = observed()
    await store.set('deleted', 1)
    await store.set('over', 1, { ttlSeconds: 0.02 })
    await store.delete('deleted')
    await sleep(40)
    await store.get('over')
    t.strictSame(readdirSync(directory), [])
  })
})

t.test('a file that is no value of ours', async (t) => {
  const record = { version: 1, key: 'k', value: 1 }
  const contents: Record<string, [content: string | Buffer, reason: RegExp]> = {
    'is empty': ['', /not JSON/],
    'ends in the middle': [JSON.stringify(record).slice(0, -3), /not JSON/],
    'is full of zeros': [Buffer.alloc(40), /not JSON/],
    'is not UTF-8': [Buffer.from([...Buffer.from('{"version":1,"key":"k","value":"'), 0xff, 0x22, 0x7d]), /not UTF-8/],
    'is of another program': ['[1, 2]', /no record of version 1/],
    'is null': ['null', /no record of version 1/],
    'is of another version': [JSON.stringify({ ...record, version: 2 }), /no record of version 1/],
    'has no value': [JSON.stringify({ version: 1, key: 'k' }), /no record of version 1/],
    'is of another key': [JSON.stringify({ ...record, key: 'other' }), /another key/],
    'ends at no time': [JSON.stringify({ ...record, expiresAt: 'soon' }), /expiresAt/],
  }
  for (const [name, [content, reason]] of Object.entries(contents)) {
    t.test(`because it ${name}, is reported and set aside; the rest keeps working`, async (t) => {
      const { directory, reports, store } = observed()
      await store.set('k', 1)
      const file = onlyFileIn(directory)
      writeFileSync(file, content)
      await store.set('other', 2)

      t.equal(await store.get('k'), undefined)
      t.equal(reports.length, 1)
      t.equal(reports[0]?.file, file)
      t.match(reports[0]?.error.message, reason)
      t.strictSame(readFileSync(`${file}.corrupt`), Buffer.from(content), 'with all that was in it')
      t.equal(existsSync(file), false)

      t.equal(await store.get('k'), undefined)
      t.equal(reports.length, 1, 'reported once')
      t.equal(await store.get('other'), 2)
      await store.set('k', 3)
      t.equal(await store.get('k'), 3)
    })
  }

  t.test('a directory in its place is one, too', async (t) => {
    const { directory, reports, store } = observed()
    await store.set('k', 1)
    const file = onlyFileIn(directory)
    await store.delete('k')
    mkdirSync(file)
    t.equal(await store.get('k'), undefined)
    t.equal(reports[0]?.file, file)
    t.ok(statSync(`${file}.corrupt`).isDirectory())
  })

  t.test('delete finds no value in it, and set replaces it', async (t) => {
    const { directory, reports, store } = observed()
    await store.set('k', 1)
    const file = onlyFileIn(directory)
    writeFileSync(file, 'broken')
    t.equal(await store.delete('k'), false)
    t.equal(reports.length, 1)
    writeFileSync(file, 'broken again')
    await store.set('k', 2)
    t.equal(await store.get('k'), 2)
    t.equal(reports.length, 1)
  })

  t.test('is a warning of the process by default', async (t) => {
    const directory = freshDirectory()
    const store = new FilePersistence({ directory })
    await store.set('k', 1)
    const file = onlyFileIn(directory)
    writeFileSync(file, 'broken')
    const [[warning]] = await Promise.all([once(process, 'warning'), store.get('k')])
    t.equal(warning.name, 'CorruptFile')
    t.match(warning.message, file)
  })
})

t.test('an error that is not about the content is told, and changes nothing', async (t) => {
  const { directory, reports, store } = observed()
  await store.set('k', 1)
  const elsewhere = `${directory}-away`
  renameSync(directory, elsewhere)
  writeFileSync(directory, 'a file where the directory was')
  await t.rejects(store.get('k'), { code: 'ENOTDIR' })
  await t.rejects(store.set('k', 2), { code: 'ENOTDIR' })
  renameSync(directory, `${directory}-file`)
  renameSync(elsewhere, directory)
  t.equal(await store.get('k'), 1)
  t.strictSame(reports, [])
})

t.test('a directory that cannot be made is tried again', async (t) => {
  const parent = freshDirectory()
  writeFileSync(parent, 'in the way')
  const { store } = observed(join(parent, 'store'))
  await t.rejects(store.set('k', 1), { code: 'ENOTDIR' })
  renameSync(parent, `${parent}-away`)
  await store.set('k', 1)
  t.equal(await store.get('k'), 1)
})

t.test('a write that fails leaves the old value and no file of its own', async (t) => {
  const { directory, store } = observed()
  await store.set('k', 'old')
  const file = onlyFileIn(directory)
  renameSync(file, `${file}-kept`)
  mkdirSync(file)
  await t.rejects(store.set('k', 'new'), { code: 'EISDIR' })
  t.strictSame(
    readdirSync(directory).filter((name) => name.endsWith('.tmp')),
    [],
  )
})

t.test('at its start it removes the drafts of a process that was killed, and nothing else', async (t) => {
  const directory = freshDirectory()
  mkdirSync(directory)
  const hash = 'a'.repeat(64)
  const draft = `${hash}.json.01234567-89ab-4cde-8f01-23456789abcd.7.tmp`
  const others = ['notes.tmp', `${hash}.json.corrupt`, 'README.md', `${hash}.json.1.tmp`]
  for (const name of [draft, ...others]) writeFileSync(join(directory, name), 'half')
  await new FilePersistence({ directory }).get('k')
  t.strictSame(readdirSync(directory).sort(), [...others].sort())
})

t.test('two of one process do not remove each other’s drafts', async (t) => {
  const directory = freshDirectory()
  const first = new FilePersistence({ directory })
  const body = 'x'.repeat(200_000)
  await Promise.all(
    Array.from({ length: 30 }, async (_, n) => {
      await Promise.all([first.set(`k${n}`, body), new FilePersistence({ directory }).get('other')])
    }),
  )
  for (let n = 0; n < 30; n++) t.equal(await first.get(`k${n}`), body)
})

t.test('kill -9 in the middle of writes leaves the old value or the new one, never half of one', async (t) => {
  const directory = freshDirectory()
  const writer = fileURLToPath(new URL('endless-writer.ts', import.meta.url))
  let midWrite = 0
  // A kill may also come between two writes; rounds go on until enough came within one.
  for (let round = 1; round <= 40 && (round <= 10 || midWrite < 3); round++) {
    await t.test(`round ${round}`, async (t) => {
      const child = new Program(t, process.execPath, { args: ['--conditions=signalbox-source', writer, directory] })
      await child.says(/^\d+\n/)
      await sleep(Math.random() * 15)
      child.kill('SIGKILL')
      const { code, stdout, stderr } = await child.exited
      t.equal(code, null, `it was killed ${stderr}`)

      midWrite += readdirSync(directory).filter((name) => name.endsWith('.tmp')).length
      const { store, reports } = observed(directory)
      const value = (await store.get('k')) as { n: number; body: string; end: number }
      const lastTold = Number(stdout.trimEnd().split('\n').at(-1))
      t.ok(value.n === lastTold || value.n === lastTold + 1, `told ${lastTold}, found ${value.n}`)
      t.ok(value.body === String(value.n % 10).repeat(400_000) && value.end === value.n, 'it is whole')
      t.strictSame(reports, [])
      t.equal(readdirSync(directory).length, 1, 'and the draft is gone')
    })
  }
  t.ok(midWrite >= 3, `${midWrite} of the kills came in the middle of a write`)
})
