import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ReadFiles } from '../../src/config/read-files.ts'

t.test('a file that is as it was read has the fingerprint that it had', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const files = new ReadFiles()
  t.equal(await files.text(path), 'one')
  t.strictSame(files.paths, [path])
  t.equal(await files.fingerprintNow(), files.fingerprint)
  await writeFile(path, 'two')
  t.not(await files.fingerprintNow(), files.fingerprint)
  await writeFile(path, 'one')
  t.equal(await files.fingerprintNow(), files.fingerprint)
})

t.test('a file that was not there is remembered, too', async (t) => {
  const path = join(t.testdir({}), 'file')
  const files = new ReadFiles()
  await t.rejects(files.text(path), { code: 'ENOENT' })
  t.equal(await files.fingerprintNow(), files.fingerprint)
  await writeFile(path, '')
  t.not(await files.fingerprintNow(), files.fingerprint)
})

t.test('of a directory each file that is not hidden', async (t) => {
  const path = t.testdir({ b: '2', a: '1', '..data': '3', '.x': '4', 'a~': '5' })
  const files = new ReadFiles()
  const texts = [
    { name: 'a', text: '1' },
    { name: 'b', text: '2' },
  ]
  t.strictSame(await files.texts(path), texts)
  t.strictSame(files.paths.toSorted(), [path, join(path, 'a'), join(path, 'b')])
  t.equal(await files.fingerprintNow(), files.fingerprint)
  await writeFile(join(path, '.x'), 'hidden ones do not count')
  t.equal(await files.fingerprintNow(), files.fingerprint)
  await writeFile(join(path, 'c'), '')
  t.not(await files.fingerprintNow(), files.fingerprint, 'one that is new')
  await rm(join(path, 'c'))
  t.equal(await files.fingerprintNow(), files.fingerprint)
  await rm(join(path, 'a'))
  t.not(await files.fingerprintNow(), files.fingerprint, 'one that is gone')
})

t.test('a directory in the place of a file stays what it is', async (t) => {
  const path = t.testdir({})
  const files = new ReadFiles()
  await t.rejects(files.text(path), { code: 'EISDIR' })
  t.equal(await files.fingerprintNow(), files.fingerprint)
})
