import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** A client that was dropped because it read nothing. */
export interface WriteStall {
  /** How long it had read nothing, in milliseconds: the timeout, and at most a quarter of it more. */
  waitedMs: number
  /** What waited for it in this process. */
  unreadBytes: number
}

/** Node's own account of what the kernel was given of a socket's output, and what of that it has not taken yet. */
interface Output {
  bytesWritten: number
  writeQueueSize: number
}

const takenOf = ({ _handle }: Socket & { _handle?: Output | null }): number =>
  _handle ? _handle.bytesWritten - _handle.writeQueueSize : 0

/**
 * Closes the connections whose clients take nothing of what waits for them for `timeoutMs`; one that reads slowly reads. What they
 * hold (the answer, its upstream call) is freed as when a client leaves. To be called before the server listens; returns what ends it.
 */
export function dropStalledWrites(server: Server, timeoutMs: number, onStall: (stall: WriteStall) => void): () => void {
  /** Of those for whom something waits: how much they had taken when, and that since then it has been the same. */
  const waiting = new Map<Socket, { taken: number; since: number }>()
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      waiting.delete(socket)
    })
  })

  const look = (): void => {
    const now = performance.now()
    for (const socket of sockets) {
      const unreadBytes = socket.writableLength
      const taken = takenOf(socket)
      const before = waiting.get(socket)
      if (unreadBytes === 0) waiting.delete(socket)
      else if (before?.taken !== taken) waiting.set(socket, { taken, since: now })
      else if (now - before.since >= timeoutMs) {
        onStall({ waitedMs: now - before.since, unreadBytes })
        socket.destroy()
      }
    }
  }
  const timer = setInterval(look, Math.max(1, timeoutMs / 4)).unref()
  return () => clearInterval(timer)
}
