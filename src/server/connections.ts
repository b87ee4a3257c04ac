import { Server } from 'node:http'
import type { Socket } from 'node:net'

/** The connections of an HTTP server that is to end. */
export interface Connections {
  /** Begins to take note of which connections are in use: those that already are not can be closed as soon as they are swept. */
  watch(): void
  /**
   * Closes what nobody waits for, again and again until the returned function is called: a connection that falls idle,
   * or never said anything, would hold up `server.close()` for as long as it is kept alive.
   */
  sweep(): () => void
}

const sweepMs = 50

/**
 * A connection that was in use this lately stays open, in milliseconds: its client, which has just read an answer, may be sending its
 * next request, and would see it fail.
 */
const lingerMs = 250

/** A request head that is not whole by then, in milliseconds, will not be waited for: nothing else bounds it any more. */
const halfSentMs = 1000

/** Node's own mark of a socket with a request on it. */
const isAsking = (socket: Socket & { _httpMessage?: unknown }): boolean => Boolean(socket._httpMessage)

interface Use {
  bytes: number
  /** When that was last different, or a request was on it. */
  at: number
}

/** To be called before the server listens. */
export function trackConnections(server: Server): Connections {
  const sockets = new Map<Socket, Use>()
  let timer: ReturnType<typeof setInterval> | undefined
  let isSweeping = false

  const look = (): void => {
    const now = performance.now()
    let isLate = false
    for (const [socket, use] of sockets) {
      const bytes = socket.bytesRead + socket.bytesWritten
      if (bytes !== use.bytes || isAsking(socket)) {
        use.bytes = bytes
        use.at = now
      }
      if (isAsking(socket)) continue
      const idleMs = now - use.at
      if (idleMs < lingerMs) isLate = true
      else if (isSweeping && (socket.bytesRead === 0 || idleMs > halfSentMs)) socket.destroy()
    }
    // Which of them Node takes for idle, it does not tell: all wait for the last one.
    if (isSweeping && !isLate) Server.prototype.closeIdleConnections.call(server)
  }
  const watch = (): void => {
    if (timer) return
    look()
    timer = setInterval(look, sweepMs)
  }

  server.on('connection', (socket: Socket) => {
    sockets.set(socket, { bytes: 0, at: performance.now() })
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    watch,
    sweep() {
      // Node does it at once when the server is closed.
      server.closeIdleConnections = () => {}
      watch()
      isSweeping = true
      look()
      return () => clearInterval(timer)
    },
  }
}
