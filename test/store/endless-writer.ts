import { FilePersistence } from '../../src/index.ts'

/** Writes one key again and again, and says the number of each value that it was told is kept. Ends by being killed. */
const store = new FilePersistence({ directory: process.argv[2] ?? '' })
const before = (await store.get('k')) as { n: number } | undefined
for (let n = (before?.n ?? 0) + 1; ; n++) {
  await store.set('k', { n, body: String(n % 10).repeat(400_000), end: n })
  process.stdout.write(`${n}\n`)
}
