import { createHash, randomUUID } from 'node:crypto'
import type { Behaviour, Json, RecordedRequest } from './exchange.ts'
import { responses } from './responses.ts'

/** What a completion says, how fast, and with which deviations from the plain answer. */
export interface CompletionOptions {
  /** The answer; by default `You said: ` and the last user message. */
  text?: string
  /** The answer as the exact deltas to stream; wins over `text`. */
  tokens?: string[]
  /** Pause between two chunks. */
  delayMs?: number
  /** Pause before anything is sent, the head included. */
  firstDelayMs?: number
  toolCalls?: { id?: string; name: string; arguments: string }[]
  /** Number of choices; by default the request's `n`. */
  n?: number
  refusal?: string
  /** Sent as `reasoning_content`. */
  reasoning?: string
  /** By default the request's `logprobs`. */
  logprobs?: boolean
  /** Fields that replace those of the computed usage; `false`: a provider that reports none. */
  usage?: Json | false
  /** Fields merged into the body, and into every chunk. */
  extra?: Json
  finishReason?: string
}

interface Choice {
  content: string[] | null
  refusal: string[] | null
  reasoning: string[]
  calls: { id: string; name: string; arguments: string }[]
}

interface Plan {
  body: Json
  choices: Choice[]
  finishReason: string
  logprobs: boolean
  usage: Json | undefined
}

const asObject = (value: unknown): Json => (typeof value === 'object' && value !== null ? { ...value } : {})
const words = (text: string): string[] => text.split(/(?=\s)/).filter((word) => word !== '')
const pieces = (text: string): string[] => text.match(/[\s\S]{1,8}/g) ?? []

/** True when the request asks for an event stream. */
export const wantsStream = (request: RecordedRequest): boolean => asObject(request.body).stream === true

function lastUserText(body: Json): string {
  const messages: unknown[] = Array.isArray(body.messages) ? body.messages : []
  const content = asObject(messages.findLast((message) => asObject(message).role === 'user')).content
  if (!Array.isArray(content)) return String(content ?? '')
  return content.map((part) => asObject(part).text ?? '').join('')
}

function planChoice(body: Json, options: CompletionOptions, index: number): Choice {
  const calls = (options.toolCalls ?? []).map((call) => ({ id: `call_${randomUUID().slice(0, 8)}`, ...call }))
  const refusal = options.refusal === undefined ? null : words(options.refusal)
  const silent = options.text === undefined && (calls.length > 0 || refusal !== null)
  const text = options.text ?? `You said: ${lastUserText(body)}${index > 0 ? ` (${index})` : ''}`
  return {
    content: options.tokens ?? (silent ? null : words(text)),
    refusal,
    reasoning: words(options.reasoning ?? ''),
    calls,
  }
}

function countUsage(body: Json, choices: Choice[]): Json {
  const prompt = Math.ceil(JSON.stringify(body.messages ?? []).length / 4)
  const reasoning = choices.reduce((sum, choice) => sum + choice.reasoning.length, 0)
  const answer = choices
    .flatMap(({ content, refusal, calls }) => [content, refusal, ...calls.map((call) => pieces(call.arguments))])
    .reduce((sum, tokens) => sum + (tokens?.length ?? 0), 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: answer + reasoning,
    total_tokens: prompt + answer + reasoning,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }
}

function plan(request: RecordedRequest, options: CompletionOptions): Plan {
  const body = asObject(request.body)
  const length = options.n ?? Number(body.n ?? 1)
  const choices = Array.from({ length }, (_, index) => planChoice(body, options, index))
  return {
    body,
    choices,
    finishReason: options.finishReason ?? (options.toolCalls ? 'tool_calls' : 'stop'),
    logprobs: options.logprobs ?? body.logprobs === true,
    usage: options.usage === false ? undefined : { ...countUsage(body, choices), ...options.usage },
  }
}

function envelope(body: Json, object: string): Json {
  return {
    id: `chatcmpl-${randomUUID()}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    service_tier: 'default',
    system_fingerprint: 'fp_upstream',
  }
}

function logprobsOf(tokens: string[]): Json {
  const content = tokens.map((token) => ({ token, logprob: -0.25, bytes: [...Buffer.from(token)], top_logprobs: [] }))
  return { content, refusal: null }
}

function* interleave<T>(lanes: Iterable<T>[]): Generator<[lane: number, value: T]> {
  const open = new Map(lanes.map((lane, index) => [index, lane[Symbol.iterator]()]))
  while (open.size > 0) {
    for (const [index, lane] of open) {
      const step = lane.next()
      if (step.done) open.delete(index)
      else yield [index, step.value]
    }
  }
}

function* deltas({ content, refusal, reasoning, calls }: Choice): Generator<Json> {
  yield { role: 'assistant', content: content === null ? null : '', refusal: null }
  for (const token of reasoning) yield { reasoning_content: token }
  for (const token of content ?? []) yield { content: token }
  for (const token of refusal ?? []) yield { refusal: token }
  for (const [index, { id, name }] of calls.entries()) {
    yield { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }
  }
  for (const [index, piece] of interleave(calls.map((call) => pieces(call.arguments)))) {
    yield { tool_calls: [{ index, function: { arguments: piece } }] }
  }
}

/** The chunks of a streamed completion, in order, without `[DONE]`. */
export function* completionChunks(request: RecordedRequest, options: CompletionOptions = {}): Generator<Json> {
  const { body, choices, finishReason, logprobs, usage } = plan(request, options)
  const head = envelope(body, 'chat.completion.chunk')
  const reportsUsage = usage !== undefined && asObject(body.stream_options).include_usage === true
  const chunk = (choices: Json[], usage: Json | null = null): Json => ({
    ...head,
    choices,
    ...(reportsUsage && { usage }),
    ...options.extra,
  })
  for (const [index, delta] of interleave(choices.map(deltas))) {
    const scored = logprobs && typeof delta.content === 'string' && delta.content !== ''
    const scores = scored ? logprobsOf([String(delta.content)]) : null
    yield chunk([{ index, delta, logprobs: scores, finish_reason: null }])
  }
  for (const index of choices.keys()) yield chunk([{ index, delta: {}, logprobs: null, finish_reason: finishReason }])
  if (reportsUsage) yield chunk([], usage)
}

/** The body of a completion that is not streamed. */
export function completionBody(request: RecordedRequest, options: CompletionOptions = {}): Json {
  const { body, choices, finishReason, logprobs, usage } = plan(request, options)
  return {
    ...envelope(body, 'chat.completion'),
    choices: choices.map(({ content, refusal, reasoning, calls }, index) => ({
      index,
      message: {
        role: 'assistant',
        content: content?.join('') ?? null,
        refusal: refusal?.join('') ?? null,
        annotations: [],
        ...(reasoning.length > 0 && { reasoning_content: reasoning.join('') }),
        ...(calls.length > 0 && {
          tool_calls: calls.map(({ id, ...called }) => ({ id, type: 'function', function: called })),
        }),
      },
      logprobs: logprobs && content !== null ? logprobsOf(content) : null,
      finish_reason: finishReason,
    })),
    ...(usage && { usage }),
    ...options.extra,
  }
}

/** A chat completion, streamed when the request says so. */
export function completion(options: CompletionOptions = {}): Behaviour {
  return async (request, exchange) => {
    if (options.firstDelayMs) await exchange.sleep(options.firstDelayMs)
    if (!wantsStream(request)) return exchange.json(200, completionBody(request, options))
    exchange.startStream()
    let first = true
    for (const chunk of completionChunks(request, options)) {
      if (!first && options.delayMs) await exchange.sleep(options.delayMs)
      first = false
      await exchange.event(chunk)
    }
    await exchange.done()
  }
}

function vector(input: unknown, dimensions: number): number[] {
  const hash = createHash('shake256', { outputLength: dimensions }).update(JSON.stringify(input)).digest()
  // Multiples of 1/128 are exact in a Float32: both encodings carry the very same numbers.
  return Array.from(hash, (byte) => (byte - 128) / 128)
}

function base64(numbers: number[]): string {
  const bytes = Buffer.alloc(numbers.length * 4)
  for (const [index, number] of numbers.entries()) bytes.writeFloatLE(number, index * 4)
  return bytes.toString('base64')
}

/** Embeddings that depend on nothing but the input; `dimensions` (8 by default) is honoured. */
export function embeddings(): Behaviour {
  return (request, exchange) => {
    const { input, model, dimensions, encoding_format } = asObject(request.body)
    const inputs: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input]
    const tokens = inputs.reduce<number>(
      (sum, each) => sum + (Array.isArray(each) ? each.length : words(String(each)).length),
      0,
    )
    const data = inputs.map((each, index) => {
      const embedding = vector(each, Number(dimensions ?? 8))
      return { object: 'embedding', index, embedding: encoding_format === 'base64' ? base64(embedding) : embedding }
    })
    return exchange.json(200, { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } })
  }
}

/** The list of models. */
export function models(ids: string[] = ['upstream-large', 'upstream-small']): Behaviour {
  const data = ids.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'upstream' }))
  return (_request, exchange) => exchange.json(200, { object: 'list', data })
}

const routes = new Map<string, Behaviour>([
  ['POST /v1/chat/completions', completion()],
  ['POST /v1/responses', responses()],
  ['POST /v1/embeddings', embeddings()],
  ['GET /v1/models', models()],
])

/** The faithful provider: dispatches on method and path, and answers 404 in OpenAI's envelope to anything else. */
export const provider: Behaviour = (request, exchange) => {
  const [pathname] = request.path.split('?')
  const route = routes.get(`${request.method} ${pathname}`)
  if (route) return route(request, exchange)
  const message = `Invalid URL (${request.method} ${pathname})`
  return exchange.json(404, { error: { message, type: 'invalid_request_error', param: null, code: null } })
}
