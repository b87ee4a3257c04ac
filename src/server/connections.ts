import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The connections of an HTTP server that is to end. */
export interface Connections {
  /** Begins to take note of which connections are in use: those that are not can be closed as soon as they are swept. */
  watch(): void
  /**
   * Closes what nobody waits for, again and again until the returned function is called: a connection that falls idle,
   * or never said anything, would hold up `server.close()` for as long as it is kept alive.
   *
   * @param idleMs How long nothing has happened on what is closed. A client that has just read an answer may be sending its next
   *   request, and would see it fail; a request head that is not whole by then will not be waited for. Default 1000.
   */
  sweep(idleMs?: number): () => void
}

const lookMs = 50

/** Node's own mark of a socket with a request on it. */
const isAsking = (socket: Socket & { _httpMessage?: unknown }): boolean => Boolean(socket._httpMessage)

interface Use {
  bytes: number
  /** When that was last seen to change, or a request was on it. */
  at: number
}

/** To be called before the server listens. */
export function trackConnections(server: Server): Connections {
  const sockets = new Map<Socket, Use>()
  let timer: ReturnType<typeof setInterval> | undefined
  let closesAfterMs = Number.POSITIVE_INFINITY

  const look = (): void => {
    const now = performance.now()
    for (const [socket, use] of sockets) {
      const bytes = socket.bytesRead + socket.bytesWritten
      if (bytes !== use.bytes || isAsking(socket)) {
        use.bytes = bytes
        use.at = now
      } else if (now - use.at >= closesAfterMs) socket.destroy()
    }
  }
  const watch = (): void => {
    if (timer) return
    look()
    // After what has arrived meanwhile is read: the process may have had no time for it.
    timer = setInterval(() => setImmediate(look), lookMs)
  }

  server.on('connection', (socket: Socket) => {
    sockets.set(socket, { bytes: 0, at: performance.now() })
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    watch,
    sweep(idleMs = 1000) {
      // Node would close them all at the moment at which the server is closed.
      server.closeIdleConnections = () => {}
      closesAfterMs = idleMs
      watch()
      return () => clearInterval(timer)
    },
  }
}
