import { once } from 'node:events'
import t from 'tap'
import { eventually } from '../core.ts'
import { startGateway } from '../gateway.ts'
import { scraped, sumOf } from '../scrape.ts'
import { askSlowly } from '../slow-client.ts'
import { completion, pacedFlood, startUpstream } from '../upstream.ts'

const upstream = await startUpstream()
t.teardown(() => upstream.close())

t.test('a client that reads nothing for longer than server.timeouts.write', async (t) => {
  const gateway = await startGateway(t, {
    config: { server: { timeouts: { write: '1s' } }, providers: { up: { baseURL: upstream.baseURL } } },
  })
  const dropped = async (): Promise<number | undefined> =>
    sumOf(await scraped(gateway.url), 'signalbox_write_stalls_total')

  await t.test('is dropped, and its upstream call aborted', async (t) => {
    upstream.behave(pacedFlood(64 << 20, 64 << 10).behaviour)
    await askSlowly(t, gateway.port)
    const { closed } = await upstream.request(0)
    t.match(await closed, { aborted: true })
    await eventually(() => gateway.requestLines().some(({ outcome }) => outcome === 'client_closed'))
    t.match(
      gateway.logs.find(({ msg }) => /was dropped/.test(String(msg))),
      { level: 40, waitedMs: Number },
    )
    t.equal(await dropped(), 1)
  })

  await t.test('of a whole answer, too', async (t) => {
    upstream.behave(completion({ tokens: ['x'.repeat(32 << 20)] }))
    const socket = await askSlowly(t, gateway.port, [], {})
    await new Promise((resolve) => gateway.hooks.once('onWriteStall', resolve))
    socket.resume()
    await once(socket, 'close')
    t.equal(await dropped(), 2)
    await eventually(() => gateway.app.admission.inFlight === 0)
  })

  await t.test('but not one that reads slowly, for longer than that', async (t) => {
    const flood = pacedFlood(16 << 20, 64 << 10)
    upstream.behave(flood.behaviour)
    const socket = await askSlowly(t, gateway.port)
    let received = 0
    socket.on('data', (bytes: Buffer) => {
      received += bytes.length
      socket.pause()
      setTimeout(() => socket.resume(), 10)
    })
    const startedAt = performance.now()
    await once(socket.resume(), 'close')
    t.ok(performance.now() - startedAt > 2000, 'it took its time')
    t.ok(received > 16 << 20)
    t.equal(await dropped(), 2)
  })
})
