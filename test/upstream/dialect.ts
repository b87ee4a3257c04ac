import type { Behaviour, Exchange, Json, RecordedRequest } from './exchange.ts'

/** What a model is to answer, whatever the wire format. */
export interface Script {
  text?: string[]
  reasoning?: string[]
  calls?: { id: string; name: string; arguments: Json }[]
  finish?: 'stop' | 'length' | 'tool_calls' | 'content_filter'
  usage?: { prompt: number; cached: number; completion: number; reasoning: number }
}

/** What a provider has understood of a request, whatever the wire format. */
export interface Understood {
  /** All system messages, wherever they stood. */
  system: string
  /** Text of the first user message. */
  user: string
  /** Media type and base64, or URL. */
  images: string[]
  tools: string[]
  toolChoice: string | undefined
  calls: { id: string; name: string; arguments: unknown }[]
  results: { id: string; text: string }[]
  schema: unknown
  maxTokens: unknown
  temperature: unknown
  topP: unknown
  stop: unknown
}

/** A provider's wire format. */
export interface Dialect {
  /** Its API root on a host. */
  path: string
  isStream(request: RecordedRequest): boolean
  /** The whole answer. */
  body(request: RecordedRequest, script: Script): Json
  /** The events of the streamed answer, as text. */
  events(request: RecordedRequest, script: Script): string[]
  error(status: number, message: string): Json
  /** What breaks a stream off, for the reason that the status stands for. */
  errorEvent(status: number): string
  understood(request: RecordedRequest): Understood
}

export const usageOf = (script: Script) => ({ prompt: 12, cached: 0, completion: 5, reasoning: 0, ...script.usage })

export const finishOf = (script: Script) => script.finish ?? (script.calls ? 'tool_calls' : 'stop')

export const asObject = (value: unknown): Json => (typeof value === 'object' && value !== null ? { ...value } : {})

export const asList = (value: unknown): Json[] => (Array.isArray(value) ? value.map(asObject) : [])

/** JSON cut in pieces, as models write it. */
export const pieces = (text: string): string[] => text.match(/[\s\S]{1,8}/g) ?? []

/** Plays the script, streamed when the request asks for it. */
export const play =
  (dialect: Dialect, script: Script): Behaviour =>
  async (request, exchange) => {
    if (!dialect.isStream(request)) return exchange.json(200, dialect.body(request, script))
    exchange.startStream()
    for (const event of dialect.events(request, script)) await exchange.write(event)
    exchange.raw.end()
  }

/** Streams the script up to and including the event that holds `last`, then does something else. */
export const playUntil =
  (dialect: Dialect, script: Script, last: string, then: (exchange: Exchange) => void | Promise<void>): Behaviour =>
  async (request, exchange) => {
    const events = dialect.events(request, script)
    exchange.startStream()
    for (const event of events.slice(0, events.findIndex((event) => event.includes(last)) + 1)) {
      await exchange.write(event)
    }
    await then(exchange)
  }

/** Streams the script; before the event that holds the nth text, waits for `before(n)`. */
export const playPaced =
  (dialect: Dialect, script: Script, before: (n: number) => Promise<void>): Behaviour =>
  async (request, exchange) => {
    exchange.startStream()
    const texts = [...(script.text ?? [])]
    let n = 0
    for (const event of dialect.events(request, script)) {
      const next = texts[0]
      if (next !== undefined && event.includes(JSON.stringify(next))) {
        await before(n++)
        texts.shift()
      }
      await exchange.write(event)
    }
    exchange.raw.end()
  }

export const refuse =
  (dialect: Dialect, status: number, message: string, headers?: Record<string, string>): Behaviour =>
  (_request, exchange) =>
    exchange.json(status, dialect.error(status, message), headers)
