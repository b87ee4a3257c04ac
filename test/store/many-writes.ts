import { FilePersistence } from '../../src/index.ts'

/** Writes many keys at once, then one value that is large. Says what came of it. */
const store = new FilePersistence({ directory: process.argv[2] ?? '' })
const size = Number(process.argv[3])
const writes = await Promise.allSettled(Array.from({ length: 500 }, (_, n) => store.set(`k${n}`, n)))
const failed = writes.filter(({ status }) => status === 'rejected').length
const large: unknown = await store.set('k0', 'x'.repeat(size)).catch((error: unknown) => error)
const code = large instanceof Error && 'code' in large ? large.code : 'none'
process.stdout.write(JSON.stringify({ failed, large: code, k0: String(await store.get('k0')).length }))
