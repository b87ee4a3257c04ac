import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** An answer as it came over the wire. */
export interface RawAnswer {
  status: number
  /** By lower-case name; the last one wins. */
  headers: Record<string, string>
  body: string
}

export interface TalkOptions {
  /** Answers to wait for. Default 1. */
  answers?: number
  /** The request is a HEAD: its answer has no body. */
  head?: boolean
  /** Milliseconds to wait for an answer before the client ends its side, too. Default 10 000. */
  patience?: number
}

/** Instead of bytes to send: wait until the answer to what was sent before is here. */
export const untilAnswered = Symbol('until answered')

/**
 * Sends bytes over a connection of its own, numbers being pauses in milliseconds, and collects the answers until there
 * are enough of them or the connection is closed. Rejects when the server does neither.
 */
export async function talk(
  port: number,
  parts: readonly (string | Uint8Array | number | typeof untilAnswered)[],
  { answers = 1, head = false, patience = 10_000 }: TalkOptions = {},
): Promise<RawAnswer[]> {
  const socket = connect(port, '127.0.0.1').setNoDelay()
  const received: Buffer[] = []
  const over = Promise.withResolvers<void>()
  const countAnswers = (): number => parseAnswers(Buffer.concat(received), head, false).length
  let closed = false
  socket.on('error', () => undefined)
  socket.on('data', (bytes) => {
    received.push(bytes)
    if (countAnswers() >= answers) over.resolve()
  })
  socket.on('close', () => {
    closed = true
    over.resolve()
  })
  const impatience = setTimeout(() => socket.end(), patience)
  const despair = setTimeout(() => {
    over.reject(new Error(`neither answered nor closed: ${Buffer.concat(received)}`))
  }, patience + 3000)
  try {
    let expected = 0
    for (const part of parts) {
      if (closed) break
      if (part === untilAnswered) {
        for (expected += 1; !closed && countAnswers() < expected; ) await sleep(5)
      } else if (typeof part === 'number') await sleep(part)
      else if (socket.writable) socket.write(part)
    }
    await over.promise
    return parseAnswers(Buffer.concat(received), head, closed)
  } finally {
    clearTimeout(impatience)
    clearTimeout(despair)
    socket.destroy()
  }
}

/** The complete answers in what was received; interim ones are left out. */
function parseAnswers(bytes: Buffer, head: boolean, closed: boolean): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let rest = bytes; ; ) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) return answers
    const [statusLine = '', ...lines] = rest.toString('latin1', 0, end).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
    if (!status) throw new Error(`not an answer: ${statusLine}`)
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    )
    rest = rest.subarray(end + 4)
    if (status < 200) continue
    const body = status === 204 || head ? { text: '', length: 0 } : parseBody(rest, headers, closed)
    if (!body) return answers
    answers.push({ status, headers, body: body.text })
    rest = rest.subarray(body.length)
  }
}

function parseBody(
  bytes: Buffer,
  headers: Record<string, string>,
  closed: boolean,
): { text: string; length: number } | undefined {
  if (headers['transfer-encoding'] === 'chunked') return parseChunks(bytes)
  const length = headers['content-length'] === undefined ? bytes.length : Number(headers['content-length'])
  const whole = headers['content-length'] === undefined ? closed : bytes.length >= length
  return whole ? { text: bytes.toString('utf8', 0, length), length } : undefined
}

function parseChunks(bytes: Buffer): { text: string; length: number } | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const line = bytes.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    const next = line + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { text: Buffer.concat(chunks).toString('utf8'), length: next }
    chunks.push(bytes.subarray(line + 2, line + 2 + size))
    at = next
  }
}
