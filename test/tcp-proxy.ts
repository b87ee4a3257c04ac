import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Owner } from './redis-server.ts'

/** A link to a server of this machine, with the faults of a network. */
export interface TcpProxy {
  port: number
  /** Milliseconds that everything takes longer, each way. */
  latencyMs: number
  /** While true, what is sent vanishes, and nobody is told. A connection that has lost something never works again. */
  blackHole: boolean
  /** Breaks off every connection. */
  reset(): void
}

export async function startProxy(t: Owner, port: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  const deaf = new WeakSet<Socket>()
  const pass = (from: Socket, to: Socket): void => {
    sockets.add(from)
    from.on('error', () => {}).on('close', () => sockets.delete(from) && to.destroy())
    from.on('data', (data) => {
      if (proxy.blackHole) deaf.add(from)
      if (!deaf.has(from)) setTimeout(() => to.writable && to.write(data), proxy.latencyMs)
    })
  }
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true })
    pass(client, upstream)
    pass(upstream, client)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const reset = (): void => sockets.forEach((socket) => void socket.destroy())
  t.teardown(async () => {
    reset()
    server.close()
  })
  const proxy = { port: (server.address() as AddressInfo).port, latencyMs: 0, blackHole: false, reset }
  return proxy
}
