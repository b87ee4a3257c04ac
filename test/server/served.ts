/** A server on whatever runtime this is; the test starts it as a process. Says its address, ends on SIGTERM. */
import { createLLM, OaiServer } from '../../src/index.ts'

const [baseURL = ''] = process.argv.slice(2)
const client = createLLM({ model: 'lab/model', baseURL })
const server = new OaiServer({ port: 0, entries: [{ model: 'model', client }] })
const { url } = await server.start()
process.stdout.write(`on ${'Bun' in globalThis ? 'Bun' : 'Node'} at ${url}\n`)
process.once('SIGTERM', async () => {
  await server.stop({ drainMs: 5000 })
  await client.close?.()
  process.exit(0)
})
