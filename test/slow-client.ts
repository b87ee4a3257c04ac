import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Owner } from './redis-server.ts'

/** A client that has asked `up/m`, by default for a stream, and reads when it is told to. */
export async function askSlowly(
  t: Owner,
  port: number,
  headers: string[] = [],
  body: object = { stream: true },
): Promise<Socket> {
  const text = JSON.stringify({ model: 'up/m', messages: [{ role: 'user', content: 'hello' }], ...body })
  const socket = connect({ port, host: '127.0.0.1' }).pause()
  socket.on('error', () => undefined)
  t.teardown(async () => void socket.destroy())
  await once(socket, 'connect')
  const head = ['POST /v1/chat/completions HTTP/1.1', 'host: x', 'connection: close', ...headers]
  socket.write(
    `${head.join('\r\n')}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  )
  return socket
}
