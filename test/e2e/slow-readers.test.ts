import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { dataOf, startGateway } from '../gateway.ts'
import { runGateway } from '../process.ts'
import { scraped, sumOf } from '../scrape.ts'
import { askSlowly } from '../slow-client.ts'
import { pacedFlood, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())
t.beforeEach(() => upstream.reset())

const readers = 200
const streamBytes = 5 << 20
const chunkBytes = 32 << 10
/** Bytes that the process may grow by. */
const bound = 400e6

/** The text of the answers' body, whose chunks begin and end with the events. */
async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
    .toString()
    .replace(/\r\n[0-9a-f]+\r\n/g, '')
}

/** How much content has come, and whether the stream is whole. */
function contentIn(text: string): { bytes: number; isWhole: boolean } {
  const data = dataOf(text.slice(text.search(/^(id: \d+\n)?data: /m)).replace(/^id: \d+\n/gm, ''))
  const isWhole = data.at(-1)?.trim().startsWith('[DONE]') ?? false
  const chunks = data.filter((one) => one.startsWith('{')).map((one) => JSON.parse(one))
  const bytes = chunks.reduce((sum, { choices }) => sum + (choices[0]?.delta.content?.length ?? 0), 0)
  return { bytes, isWhole }
}

async function gatewayProcess(t: Test) {
  const cwd = t.testdir({
    'signalbox.yaml': `
      server: { logLevel: info, drainDelay: 0ms, drainTimeout: 0ms }
      providers: { up: { baseURL: '${upstream.baseURL}' } }
    `,
  })
  // As in a small pod: what it could collect later does not count as needed, and what it cannot ends it.
  const env = { NODE_OPTIONS: '--max-old-space-size=256' }
  const { port, url } = await runGateway(t, { cwd, env, lifeMs: 110_000 })
  const memory = async (): Promise<number> => sumOf(await scraped(url), 'process_resident_memory_bytes') ?? 0
  return { port, memory }
}

/** The most memory that is seen until the upstream has got rid of nothing more for a while. */
async function settled(memory: () => Promise<number>, progress: () => number): Promise<number> {
  let most = 0
  for (let quiet = 0, before = -1; quiet < 5; ) {
    most = Math.max(most, await memory())
    quiet = progress() === before ? quiet + 1 : 0
    before = progress()
    await sleep(200)
  }
  return most
}

t.test(`${readers} clients that stop reading a stream of 5 MB fill no memory`, async (t) => {
  const gateway = await gatewayProcess(t)
  const flood = pacedFlood(streamBytes, chunkBytes)
  upstream.behave(flood.behaviour)
  const before = await gateway.memory()
  const clients = await Promise.all(Array.from({ length: readers }, () => askSlowly(t, gateway.port)))
  const grown = (await settled(gateway.memory, () => flood.written)) - before
  t.comment(`${Math.round(grown / 1e6)} MB, of ${Math.round((readers * streamBytes) / 1e6)} MB`)
  t.equal(upstream.requests.length, readers)
  t.ok(grown < bound, `${Math.round(grown / 1e6)} MB are within the bound`)

  const [one, another] = clients as [Socket, Socket]
  for (const text of await Promise.all([readAll(one), readAll(another)])) {
    t.strictSame(contentIn(text), { bytes: streamBytes, isWhole: true }, 'who reads on gets everything')
  }
})

t.test('a client that stops reading holds up the upstream', async (t) => {
  const { port } = await startGateway(t, { config: { providers: { up: { baseURL: upstream.baseURL } } } })
  const flood = pacedFlood(64 << 20, 64 << 10)
  upstream.behave(flood.behaviour)
  await askSlowly(t, port)
  await settled(
    async () => 0,
    () => flood.written,
  )
  t.ok(flood.written > 0)
  t.ok(flood.written < 32 << 20, `${flood.written} bytes are in the buffers of the system`)
})

const resumable = ['x-signalbox-resumable: true']

t.test('nor do those of streams that go on without them', async (t) => {
  const gateway = await gatewayProcess(t)
  const flood = pacedFlood(streamBytes, chunkBytes)
  upstream.behave(flood.behaviour)
  const before = await gateway.memory()
  const streams = 120
  for (let n = 0; n < streams; n++) await askSlowly(t, gateway.port, resumable)
  const grown = (await settled(gateway.memory, () => flood.written)) - before
  t.comment(`${Math.round(grown / 1e6)} MB, of ${Math.round((streams * streamBytes) / 1e6)} MB`)
  t.ok(flood.written >= streams * streamBytes, 'they are made to their ends')
  t.ok(grown < bound, `${Math.round(grown / 1e6)} MB are within the bound`)
})

t.test('a slow reader of a stream that goes on without it gets everything, from where it is kept', async (t) => {
  const { port, hooks } = await startGateway(t, { config: { providers: { up: { baseURL: upstream.baseURL } } } })
  const flood = pacedFlood(4 * streamBytes, chunkBytes)
  upstream.behave(flood.behaviour)
  const over = new Promise((resolve) => hooks.once('onCompletion', resolve))
  const client = await askSlowly(t, port, resumable)
  await over
  const text = await readAll(client)
  t.strictSame(contentIn(text), { bytes: 4 * streamBytes, isWhole: true })
  const ids = Array.from(text.matchAll(/^id: (\d+)$/gm), ([, id]) => Number(id))
  t.strictSame(
    ids,
    ids.map((_, index) => index + 1),
    'each event once, in order',
  )
})
