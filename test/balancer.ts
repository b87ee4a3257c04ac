import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Owner } from './redis-server.ts'

/** A balancer of connections that follows readiness, as a service of a cluster does: it knows nothing of what goes over them. */
export interface Balancer {
  /** `http://127.0.0.1:PORT` */
  url: string
  /** Connections that no process took. */
  refused: number
  /** Sends new connections there as long as `GET /ready` of it is 200. Resolves when it is for the first time. */
  add(url: string): Promise<void>
  /** Forgets it; connections that are open stay. */
  remove(url: string): void
}

const probeMs = 25

export async function startBalancer(t: Owner): Promise<Balancer> {
  const backends = new Map<string, { isReady: boolean }>()
  const sockets = new Set<Socket>()
  let isOpen = true
  let turn = 0

  const isReady = (url: string): Promise<boolean> =>
    fetch(`${url}/ready`, { headers: { connection: 'close' } }).then(
      async (answer) => {
        await answer.text()
        return answer.ok
      },
      () => false,
    )

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const ready = [...backends].filter(([, { isReady }]) => isReady)
    const [url] = ready[turn++ % ready.length] ?? []
    if (!url) {
      balancer.refused += 1
      client.destroy()
      return
    }
    const { port } = new URL(url)
    const backend = connect({ port: Number(port), host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    let isConnected = false
    backend.once('connect', () => {
      isConnected = true
    })
    backend.once('error', () => {
      if (!isConnected) balancer.refused += 1
    })
    for (const [from, to] of [
      [client, backend],
      [backend, client],
    ] as const) {
      sockets.add(from)
      from
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(from)
          to.destroySoon()
        })
      from.pipe(to)
    }
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(async () => {
    isOpen = false
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  const balancer: Balancer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    refused: 0,
    async add(url) {
      const backend = { isReady: false }
      backends.set(url, backend)
      const first = Promise.withResolvers<void>()
      const watch = async (): Promise<void> => {
        while (isOpen && backends.get(url) === backend) {
          backend.isReady = await isReady(url)
          if (backend.isReady) first.resolve()
          await sleep(probeMs)
        }
      }
      void watch()
      await first.promise
    },
    remove: (url) => void backends.delete(url),
  }
  return balancer
}
