import { startUpstream, type Upstream } from '../upstream.ts'
import { wantsStream } from './answers.ts'
import { asList, asObject, type Dialect, finishOf, pieces, play, refuse, type Script, usageOf } from './dialect.ts'
import type { Behaviour, Json, RecordedRequest } from './exchange.ts'

const stopReasons = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use', content_filter: 'refusal' }
const errorTypes: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/** The signature of a thought, which the API wants back with it. */
export const SIGNATURE = 'EqQBCgIYAhIM'

function usage(script: Script): Json {
  const { prompt, cached, completion, reasoning } = usageOf(script)
  return {
    input_tokens: prompt - cached,
    cache_creation_input_tokens: 0,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    cache_read_input_tokens: cached,
    output_tokens: completion,
    output_tokens_details: { thinking_tokens: reasoning },
    service_tier: 'standard',
  }
}

/** At the end of a stream: cumulative, and without what does not change. */
function finalUsage(script: Script): Json {
  const { cache_creation: _, service_tier: __, ...counts } = usage(script)
  return counts
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
      start: { type: 'tool_use', id, name, input: {}, caller: { type: 'direct' } },
      // The API begins with an empty piece, and sends nothing else when there are no arguments.
      deltas: ['', ...(Object.keys(input).length > 0 ? pieces(JSON.stringify(input)) : [])].map((partial_json) => ({
        type: 'input_json_delta',
        partial_json,
      })),
      whole: { type: 'tool_use', id, name, input, caller: { type: 'direct' } },
    })),
  ]
}

const event = (type: string, data: Json = {}): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`

const typeOf = (status: number): string => errorTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')

const error = (status: number, message: string): Json => ({
  type: 'error',
  error: { type: typeOf(status), message },
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
    stop_details: null,
    container: null,
    usage: usage(script),
  }),
  events: (request, script) => [
    event('message_start', {
      message: {
        ...envelope(request),
        content: [],
        stop_reason: null,
        stop_sequence: null,
        stop_details: null,
        container: null,
        usage: { ...usage(script), output_tokens: 1, output_tokens_details: null },
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
      usage: finalUsage(script),
    }),
    event('message_stop'),
  ],
  error,
  errorEvent: (status) => event('error', { error: { type: typeOf(status), message: 'Internal server error' } }),
  understood({ body }) {
    const request = asObject(body)
    const messages = asList(request.messages)
    const all = messages.flatMap(blocksOf).flatMap((block) => [block, ...asList(block.content)])
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

type Complaint = [status: number, message: string]

const invalid = (message: string): Complaint => [400, message]
const isText = ({ type }: Json): boolean => type === 'text'
const isBlank = ({ text }: Json): boolean => String(text).trim() === ''

/** What the API refuses in the texts of a turn, or of the system prompt. */
function textComplaint(field: string, blocks: Json[]): Complaint | undefined {
  if (blocks.some((block) => isText(block) && block.text === '')) {
    return invalid(`${field}: text content blocks must be non-empty`)
  }
  if (blocks.length > 0 && blocks.every((block) => isText(block) && isBlank(block))) {
    return invalid(`${field}: text content blocks must contain non-whitespace text`)
  }
  return undefined
}

/** What the API refuses in a turn, with those around it. */
function turnComplaint(turns: Json[], index: number): Complaint | undefined {
  const turn = turns[index] ?? {}
  const blocks = blocksOf(turn)
  if (turn.role === 'system') return invalid("role 'system' is not supported on this model")
  if (turn.role !== 'user' && turn.role !== 'assistant') {
    return invalid(`messages.${index}.role: Input should be 'user' or 'assistant'`)
  }
  if (turn.role === 'user' && (blocks.length === 0 || turn.content === '')) {
    return invalid(`messages.${index}: user messages must have non-empty content`)
  }
  const idsOf = (message: Json | undefined, type: string, key: string): string[] =>
    blocksOf(message ?? {}).flatMap((block) => (block.type === type ? [String(block[key])] : []))
  const used = idsOf(turn, 'tool_use', 'id')
  if (used.some((id) => !/^[a-zA-Z0-9_-]+$/.test(id))) {
    return invalid(`messages.${index}.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'`)
  }
  const answered = idsOf(turns[index + 1], 'tool_result', 'tool_use_id')
  const left = used.find((id) => !answered.includes(id))
  if (left) return invalid(`messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks: ${left}`)
  const asked = idsOf(turns[index - 1], 'tool_use', 'id')
  const unasked = idsOf(turn, 'tool_result', 'tool_use_id').find((id) => !asked.includes(id))
  if (unasked)
    return invalid(`messages.${index}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${unasked}`)
  return textComplaint('messages', blocks)
}

/** What the API refuses in the settings. */
function settingComplaint(request: Json): Complaint | undefined {
  const { model, max_tokens, temperature, top_p, thinking, tools } = request
  const { type, budget_tokens } = asObject(thinking)
  if (typeof model !== 'string') return invalid('model: Field required')
  if (!Number.isInteger(max_tokens)) return invalid('max_tokens: Field required')
  if (Number(temperature) > 1) return invalid('temperature: range: 0..1')
  if (temperature !== undefined && top_p !== undefined) {
    return invalid('`temperature` and `top_p` cannot both be specified for this model. Please use only one.')
  }
  if (type === 'enabled' && Number(budget_tokens) < 1024) {
    return invalid('thinking.enabled.budget_tokens: Input should be greater than or equal to 1024')
  }
  if (type === 'enabled' && Number(max_tokens) <= Number(budget_tokens)) {
    return invalid('`max_tokens` must be greater than `thinking.budget_tokens`')
  }
  if (type === 'enabled' && temperature !== undefined && temperature !== 1) {
    return invalid('`temperature` may only be set to 1 when thinking is enabled')
  }
  const untyped = asList(tools).findIndex(({ input_schema }) => asObject(input_schema).type !== 'object')
  return untyped < 0 ? undefined : invalid(`tools.${untyped}.custom.input_schema.type: Field required`)
}

/** What the API refuses in a request, as it says it; undefined when there is nothing. */
function complaint({ headers, body }: RecordedRequest): Complaint | undefined {
  const request = asObject(body)
  const turns = asList(request.messages)
  if (!headers['x-api-key']) return [401, 'x-api-key header is required']
  if (!headers['anthropic-version']) return invalid('anthropic-version: header is required')
  if (turns.length === 0) return invalid('messages: at least one message is required')
  return (
    settingComplaint(request) ??
    turns.map((_, index) => turnComplaint(turns, index)).find((problem) => problem !== undefined) ??
    textComplaint('system', asList(request.system))
  )
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
