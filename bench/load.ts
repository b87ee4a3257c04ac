import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http'

export interface Target {
  port: number
  key: string
}

const messages = [
  { role: 'system', content: 'You are the signaller. Answer briefly. '.repeat(10) },
  { role: 'user', content: 'Which way are the points set?' },
]
const bodyOf = (stream: boolean): string => JSON.stringify({ model: 'bench', messages, temperature: 0.2, stream })

/** Sends `count` requests over `connections` kept-alive connections, each waiting for its answer. */
export async function run(target: Target, count: number, connections: number, stream: boolean): Promise<Result> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const body = bodyOf(stream)
  const firstByteMs: number[] = []
  let bytes = 0
  let left = count
  const startedAt = performance.now()
  const worker = async (): Promise<void> => {
    while (left-- > 0) bytes += await once(target, agent, body, firstByteMs)
  }
  await Promise.all(Array.from({ length: connections }, worker))
  agent.destroy()
  return { seconds: (performance.now() - startedAt) / 1000, bytes, firstByteMs }
}

/** Opens streams that stall after their first event; resolves, once each has begun, with a function that drops them. */
export async function hold(target: Target, count: number): Promise<() => void> {
  const agent = new Agent({ keepAlive: false })
  const body = JSON.stringify({ model: 'bench', messages, stream: true, hold: true })
  const begun = Array.from({ length: count }, () => begin(target, agent, body))
  const streams = await Promise.all(begun)
  return () => {
    for (const stream of streams) stream.destroy()
  }
}

function begin({ port, key }: Target, agent: Agent, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(optionsFor(port, key, agent, body))
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      response.once('data', () => resolve(response))
      response.on('error', () => {})
    })
    outgoing.end(body)
  })
}

const optionsFor = (port: number, key: string, agent: Agent, body: string): RequestOptions => ({
  agent,
  host: '127.0.0.1',
  port,
  method: 'POST',
  path: '/v1/chat/completions',
  headers: {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    authorization: `Bearer ${key}`,
  },
})

/** One request; resolves with its status when its answer is whole, rejects when it breaks off. */
export function ask({ port, key }: Target, agent: Agent, stream: boolean): Promise<number> {
  const body = bodyOf(stream)
  return new Promise((resolve, reject) => {
    const outgoing = request(optionsFor(port, key, agent, body))
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
      response.on('error', reject)
    })
    outgoing.end(body)
  })
}

export interface Result {
  seconds: number
  bytes: number
  firstByteMs: number[]
}

function once({ port, key }: Target, agent: Agent, body: string, firstByteMs: number[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    const outgoing = request(optionsFor(port, key, agent, body))
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        if (bytes === 0) firstByteMs.push(performance.now() - startedAt)
        bytes += chunk.length
      })
      response.on('end', () => resolve(bytes))
      response.on('error', reject)
    })
    outgoing.end(body)
  })
}
