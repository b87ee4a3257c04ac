import { startUpstream, type Upstream } from '../upstream.ts'
import { wantsStream } from './answers.ts'
import { asList, asObject, type Dialect, finishOf, pieces, play, refuse, type Script, usageOf } from './dialect.ts'
import type { Behaviour, Json, RecordedRequest } from './exchange.ts'

const stopReasons = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use', content_filter: 'refusal' }
const errorTypes: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
}

/** The signature of a thought, which the API wants back with it. */
export const SIGNATURE = 'EqQBCgIYAhIM'

function usage(script: Script): Json {
  const { prompt, cached, completion, reasoning } = usageOf(script)
  return {
    input_tokens: prompt - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    output_tokens: completion,
    output_tokens_details: { thinking_tokens: reasoning },
    service_tier: 'standard',
  }
}

const envelope = (request: RecordedRequest): Json => ({
  id: 'msg_01XFDUDYJgAACzvnptvVoYEL',
  type: 'message',
  role: 'assistant',
  model: asObject(request.body).model,
})

/** Each content block: how it begins, its deltas, and what it is in the end. */
function blocks({ reasoning, text, calls }: Script): { start: Json; deltas: Json[]; whole: Json }[] {
  return [
    ...(reasoning
      ? [
          {
            start: { type: 'thinking', thinking: '', signature: '' },
            deltas: [
              ...reasoning.map((thinking) => ({ type: 'thinking_delta', thinking })),
              { type: 'signature_delta', signature: SIGNATURE },
            ],
            whole: { type: 'thinking', thinking: reasoning.join(''), signature: SIGNATURE },
          },
        ]
      : []),
    ...(text
      ? [
          {
            start: { type: 'text', text: '' },
            deltas: text.map((text) => ({ type: 'text_delta', text })),
            whole: { type: 'text', text: text.join('') },
          },
        ]
      : []),
    ...(calls ?? []).map(({ id, name, arguments: input }) => ({
      start: { type: 'tool_use', id, name, input: {} },
      // The API begins with an empty piece, and sends nothing else when there are no arguments.
      deltas: ['', ...(Object.keys(input).length > 0 ? pieces(JSON.stringify(input)) : [])].map((partial_json) => ({
        type: 'input_json_delta',
        partial_json,
      })),
      whole: { type: 'tool_use', id, name, input },
    })),
  ]
}

const event = (type: string, data: Json = {}): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`

const error = (status: number, message: string): Json => ({
  type: 'error',
  error: { type: errorTypes[status] ?? 'api_error', message },
  request_id: 'req_011CSHoEeqs5C35K2UUqR7Fy',
})

const blocksOf = (message: Json): Json[] =>
  typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : asList(message.content)

/** Anthropic's Messages API. */
export const anthropic: Dialect = {
  path: '/v1',
  isStream: wantsStream,
  body: (request, script) => ({
    ...envelope(request),
    content: blocks(script).map(({ whole }) => whole),
    stop_reason: stopReasons[finishOf(script)],
    stop_sequence: null,
    usage: usage(script),
  }),
  events: (request, script) => [
    event('message_start', {
      message: {
        ...envelope(request),
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { ...usage(script), output_tokens: 1 },
      },
    }),
    ...blocks(script).flatMap(({ start, deltas }, index) => [
      event('content_block_start', { index, content_block: start }),
      event('ping'),
      ...deltas.map((delta) => event('content_block_delta', { index, delta })),
      event('content_block_stop', { index }),
    ]),
    event('message_delta', {
      delta: { stop_reason: stopReasons[finishOf(script)], stop_sequence: null },
      usage: usage(script),
    }),
    event('message_stop'),
  ],
  error,
  errorEvent: () => event('error', { error: { type: 'api_error', message: 'Internal server error' } }),
  understood({ body }) {
    const request = asObject(body)
    const messages = asList(request.messages)
    const all = messages.flatMap(blocksOf)
    const choice = asObject(request.tool_choice)
    const choices: Json = { any: 'required', auto: 'auto', none: 'none', tool: choice.name }
    return {
      system: asList(request.system)
        .map(({ text }) => text)
        .join(''),
      user: messages
        .slice(0, 1)
        .flatMap(blocksOf)
        .map(({ text }) => text ?? '')
        .join(''),
      images: all.flatMap(({ type, source }) => {
        const { url, media_type, data } = asObject(source)
        return type === 'image' ? [String(url ?? `${media_type};base64,${data}`)] : []
      }),
      tools: asList(request.tools).map(({ name }) => String(name)),
      toolChoice: choices[String(choice.type)] as string | undefined,
      calls: all
        .filter(({ type }) => type === 'tool_use')
        .map(({ id, name, input }) => ({ id: String(id), name: String(name), arguments: input })),
      results: all
        .filter(({ type }) => type === 'tool_result')
        .map(({ tool_use_id, content }) => ({
          id: String(tool_use_id),
          text: typeof content === 'string' ? content : String(asList(content)[0]?.text),
        })),
      schema: asObject(asObject(request.output_config).format).schema,
      maxTokens: request.max_tokens,
      temperature: request.temperature,
      topP: request.top_p,
      stop: request.stop_sequences,
    }
  },
}

/** What the API refuses in a request, as it says it; undefined when there is nothing. */
function complaint({ headers, body }: RecordedRequest): [status: number, message: string] | undefined {
  const { model, max_tokens, messages } = asObject(body)
  const turns = asList(messages)
  if (!headers['x-api-key']) return [401, 'x-api-key header is required']
  if (!headers['anthropic-version']) return [400, 'anthropic-version: header is required']
  if (typeof model !== 'string') return [400, 'model: Field required']
  if (!Number.isInteger(max_tokens)) return [400, 'max_tokens: Field required']
  if (turns.length === 0) return [400, 'messages: at least one message is required']
  for (const [index, turn] of turns.entries()) {
    if (blocksOf(turn).some(({ type, text }) => type === 'text' && text === '')) {
      return [400, `messages.${index}: text content blocks must be non-empty`]
    }
    const used = blocksOf(turn).filter(({ type }) => type === 'tool_use')
    const answered = new Set(blocksOf(turns[index + 1] ?? {}).map(({ tool_use_id }) => tool_use_id))
    const left = used.find(({ id }) => !answered.has(id))
    if (left) return [400, `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks: ${left.id}`]
  }
  return undefined
}

/** Answers as the API does: refuses what it refuses, and else says what the user said. */
const messagesAPI: Behaviour = (request, exchange) => {
  if (request.path !== '/v1/messages') return refuse(anthropic, 404, 'Not found')(request, exchange)
  const problem = complaint(request)
  if (problem) return refuse(anthropic, ...problem)(request, exchange)
  return play(anthropic, { text: ['You said:', ` ${anthropic.understood(request).user}`] })(request, exchange)
}

/** A local server that speaks the Messages API. `behave()` without argument is the faithful API. */
export async function startAnthropic(): Promise<Upstream> {
  const upstream = await startUpstream()
  upstream.behave(messagesAPI)
  return {
    ...upstream,
    behave: (behaviour = messagesAPI) => upstream.behave(behaviour),
    reset() {
      upstream.reset()
      upstream.behave(messagesAPI)
    },
  }
}
