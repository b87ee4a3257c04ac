import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The connections of an HTTP server that is to end. */
export interface Connections {
  /**
   * Closes what nobody waits for, again and again until the returned function is called: a connection that falls idle,
   * or never said anything, would hold up `server.close()` for as long as it is kept alive.
   */
  sweep(): () => void
}

const sweepMs = 50

/** A request head that is not whole by then, in milliseconds, will not be waited for: nothing else bounds it any more. */
const halfSentMs = 1000

/** Node's own mark of a socket with a request on it. */
const isAsking = (socket: Socket & { _httpMessage?: unknown }): boolean => Boolean(socket._httpMessage)

/** To be called before the server listens. */
export function trackConnections(server: Server): Connections {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    sweep() {
      const startedAt = performance.now()
      const timer = setInterval(() => {
        server.closeIdleConnections()
        const overdue = performance.now() - startedAt > halfSentMs
        for (const socket of sockets) if (socket.bytesRead === 0 || (overdue && !isAsking(socket))) socket.destroy()
      }, sweepMs)
      return () => clearInterval(timer)
    },
  }
}
