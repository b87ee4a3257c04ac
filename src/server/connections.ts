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

/** To be called before the server listens. */
export function trackConnections(server: Server): Connections {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    sweep() {
      const timer = setInterval(() => {
        server.closeIdleConnections()
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
      }, sweepMs)
      return () => clearInterval(timer)
    },
  }
}
