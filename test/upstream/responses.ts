import { asList, asObject, pieces } from './dialect.ts'
import type { Behaviour, Exchange, Json, RecordedRequest } from './exchange.ts'

/** What a native response is made of, and with which deviations from the plain one. */
export interface ResponseOptions {
  /** The output; by default what the tools and the model ask for, then a message `You said: ` and the last text. */
  items?: Json[]
  /** Fields of the response that replace the plain ones; unknown ones too. */
  extra?: Json
  ending?: 'completed' | 'incomplete' | 'failed'
}

let made = 0
function token(): string {
  made += 1
  return String(made).padStart(8, '0')
}

const textOf = (content: unknown): string =>
  typeof content === 'string'
    ? content
    : asList(content)
        .map(({ text }) => text ?? '')
        .join('')

function lastText({ input, prompt }: Json): string {
  if (typeof input === 'string') return input
  const said = asList(input).findLast(({ role }) => role === 'user')
  return said ? textOf(said.content) : `${asList(input).at(-1)?.output ?? asObject(prompt).id ?? ''}`
}

export const outputText = (text: string, annotations: Json[] = []): Json => ({
  type: 'output_text',
  text,
  annotations,
  logprobs: [],
})
export const messageItem = (...content: Json[]): Json => ({
  type: 'message',
  id: `msg_${token()}`,
  status: 'completed',
  role: 'assistant',
  content,
})
export const webSearch = (query: string): Json => ({
  type: 'web_search_call',
  id: `ws_${token()}`,
  status: 'completed',
  action: { type: 'search', query, queries: [query], sources: [{ type: 'url', url: 'https://example.com/' }] },
})

const isReasoning = ({ model }: Json): boolean => /^(o\d|gpt-5)/.test(`${model}`)
const wantsSealed = ({ include }: Json): boolean =>
  Array.isArray(include) && include.includes('reasoning.encrypted_content')

function defaultItems(body: Json): Json[] {
  const thought = {
    type: 'reasoning',
    id: `rs_${token()}`,
    summary: [{ type: 'summary_text', text: 'Thinking.' }],
    ...(wantsSealed(body) ? { encrypted_content: `gAAA${token()}` } : {}),
  }
  const searches = asList(body.tools).some(({ type }) => type === 'web_search')
  return [
    ...(isReasoning(body) ? [thought] : []),
    ...(searches ? [webSearch(lastText(body))] : []),
    messageItem(outputText(`You said: ${lastText(body)}`)),
  ]
}

/** What the request amounts to when it is over. */
export function responseBody(request: RecordedRequest, options: ResponseOptions = {}): Json {
  const body = asObject(request.body)
  const output = options.items ?? defaultItems(body)
  const input_tokens = Math.ceil(JSON.stringify(body.input ?? '').length / 4)
  const status = options.ending ?? 'completed'
  return {
    id: `resp_upstream_${token()}`,
    object: 'response',
    created_at: 1_700_000_000,
    completed_at: status === 'completed' ? 1_700_000_001 : null,
    status,
    background: false,
    billing: { payer: 'developer' },
    conversation: null,
    error: status === 'failed' ? { code: 'server_error', message: 'the upstream says sk-upstream-secret' } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    metadata: body.metadata ?? {},
    model: `${body.model}-2026-01-01`,
    output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null, ...asObject(body.reasoning) },
    safety_identifier: null,
    service_tier: 'default',
    store: false,
    temperature: 1,
    text: { format: { type: 'text' }, verbosity: 'medium', ...asObject(body.text) },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_logprobs: 0,
    top_p: 1,
    truncation: body.truncation ?? 'disabled',
    usage: {
      input_tokens,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: 7,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: input_tokens + 7,
    },
    ...options.extra,
  }
}

const phases = (type: string, names: string[], place: Json): Json[] =>
  names.map((name) => ({ type: `response.${type}.${name}`, ...place }))

const spelled = (type: string, text: string, place: Json): Json[] =>
  pieces(text).map((delta) => ({ type: `response.${type}.delta`, ...place, delta }))

function* partEvents(part: Json, place: Json): Generator<Json> {
  const { type } = part
  const text = `${part.text ?? part.refusal ?? ''}`
  const empty =
    type === 'refusal' ? { type, refusal: '' } : { ...part, text: '', ...(part.annotations ? { annotations: [] } : {}) }
  yield { type: 'response.content_part.added', ...place, part: empty }
  const logprobs = type === 'output_text' ? { logprobs: [] } : {}
  for (const event of spelled(`${type}`, text, place)) yield { ...event, ...logprobs }
  for (const [annotation_index, annotation] of asList(part.annotations).entries()) {
    yield { type: 'response.output_text.annotation.added', ...place, annotation_index, annotation }
  }
  yield { type: `response.${type}.done`, ...place, [type === 'refusal' ? 'refusal' : 'text']: text, ...logprobs }
  yield { type: 'response.content_part.done', ...place, part }
}

/** What tells of an item between its beginning and its end. */
function* inner(item: Json, output_index: number): Generator<Json> {
  const place = { item_id: item.id, output_index }
  const type = `${item.type}`
  for (const [summary_index, part] of asList(item.summary).entries()) {
    const at = { ...place, summary_index }
    yield { type: 'response.reasoning_summary_part.added', ...at, part: { ...part, text: '' } }
    yield* spelled('reasoning_summary_text', `${part.text}`, at)
    yield { type: 'response.reasoning_summary_text.done', ...at, text: part.text }
    yield { type: 'response.reasoning_summary_part.done', ...at, part }
  }
  if (type === 'message' || type === 'reasoning') {
    for (const [content_index, part] of asList(item.content).entries())
      yield* partEvents(part, { ...place, content_index })
  }
  switch (type) {
    case 'function_call':
      yield* spelled('function_call_arguments', `${item.arguments}`, place)
      yield { type: 'response.function_call_arguments.done', ...place, name: item.name, arguments: item.arguments }
      return
    case 'custom_tool_call':
      yield* spelled('custom_tool_call_input', `${item.input}`, place)
      yield { type: 'response.custom_tool_call_input.done', ...place, input: item.input }
      return
    case 'web_search_call':
    case 'file_search_call':
      yield* phases(type, ['in_progress', 'searching', 'completed'], place)
      return
    case 'code_interpreter_call':
      yield* phases(type, ['in_progress'], place)
      yield* spelled('code_interpreter_call_code', `${item.code}`, place)
      yield { type: 'response.code_interpreter_call_code.done', ...place, code: item.code }
      yield* phases(type, ['interpreting', 'completed'], place)
      return
    case 'image_generation_call': {
      yield* phases(type, ['in_progress', 'generating'], place)
      const partial = { partial_image_index: 0, partial_image_b64: 'QUJD' }
      yield { type: 'response.image_generation_call.partial_image', ...place, ...partial }
      yield* phases(type, ['completed'], place)
      return
    }
    case 'mcp_list_tools':
      yield* phases(type, ['in_progress', item.error ? 'failed' : 'completed'], place)
      return
    case 'mcp_call':
      yield* phases(type, ['in_progress'], place)
      yield* spelled('mcp_call_arguments', `${item.arguments}`, place)
      yield { type: 'response.mcp_call_arguments.done', ...place, arguments: item.arguments }
      yield* phases(type, [item.error ? 'failed' : 'completed'], place)
      return
    case 'shell_call': {
      const at = { output_index, command_index: 0 }
      const [command] = asObject(item.action).commands as string[]
      yield { type: 'response.shell_call_command.added', ...at, command: '' }
      yield* spelled('shell_call_command', `${command}`, at)
      yield { type: 'response.shell_call_command.done', ...at, command }
      return
    }
    case 'shell_call_output': {
      const at = { ...place, command_index: 0 }
      yield { type: 'response.shell_call_output_content.delta', ...at, delta: { stdout: 'a' } }
      yield { type: 'response.shell_call_output_content.done', ...at, output: item.output }
      return
    }
  }
}

/** An item as it begins. */
function begun(item: Json): Json {
  const empty: Json = {}
  for (const field of ['arguments', 'input', 'code']) if (typeof item[field] === 'string') empty[field] = ''
  if (item.type === 'message' || item.type === 'reasoning') {
    if (item.content) empty.content = []
    if (item.summary) empty.summary = []
  }
  if (item.type === 'image_generation_call') empty.result = null
  return { ...item, ...('status' in item ? { status: 'in_progress' } : {}), ...empty }
}

/** The events of a streamed response, numbered. */
export function* responseEvents(request: RecordedRequest, options: ResponseOptions = {}): Generator<Json> {
  const whole = responseBody(request, options)
  const { usage: _usage, ...asked } = whole
  const nothingYet = { output: [], completed_at: null, error: null, incomplete_details: null }
  const response = { ...asked, ...nothingYet, status: 'in_progress' }
  const unnumbered = function* (): Generator<Json> {
    yield { type: 'response.created', response }
    yield { type: 'response.in_progress', response }
    for (const [output_index, item] of asList(whole.output).entries()) {
      yield { type: 'response.output_item.added', output_index, item: begun(item) }
      yield* inner(item, output_index)
      yield { type: 'response.output_item.done', output_index, item }
    }
    yield { type: `response.${whole.status}`, response: whole }
  }
  let sequence_number = 0
  for (const event of unnumbered()) yield { ...event, sequence_number: sequence_number++ }
}

/** Items that are nothing without their id. */
const needingIds = new Set([
  'code_interpreter_call',
  'computer_call',
  'file_search_call',
  'image_generation_call',
  'mcp_approval_request',
  'mcp_call',
  'mcp_list_tools',
])

/** As OpenAI refuses it, which has stored nothing: `param` and message; undefined when it can be answered. */
function refusal(body: Json): { status: number; message: string; param: string; code?: string } | undefined {
  if (body.store !== false) return { status: 400, message: 'this organization stores nothing', param: 'store' }
  if (body.previous_response_id) {
    const message = `Previous response with id '${body.previous_response_id}' not found.`
    return { status: 400, message, param: 'previous_response_id', code: 'previous_response_not_found' }
  }
  if (body.conversation) return { status: 404, message: 'Conversation not found.', param: 'conversation' }
  if (body.background) return { status: 400, message: 'background needs store', param: 'background' }
  if (wantsSealed(body) && !isReasoning(body)) {
    return { status: 400, message: 'Encrypted content is not supported with this model.', param: 'include' }
  }
  for (const [index, item] of asList(body.input).entries()) {
    const { type = 'message', id } = item
    const param = `input[${index}]`
    const isFull = needingIds.has(`${type}`)
    if (isFull && !id)
      return { status: 400, message: `Missing required parameter: '${param}.id'.`, param: `${param}.id` }
    if ((id && !isFull) || (type === 'reasoning' && !item.encrypted_content)) {
      const hint =
        'Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove it.'
      return { status: 404, message: `Item with id '${id}' not found. ${hint}`, param: 'input' }
    }
    if (type === 'reasoning' && !`${item.encrypted_content}`.startsWith('gAAA')) {
      const message = 'The encrypted content could not be verified.'
      return { status: 400, message, param: 'input', code: 'invalid_encrypted_content' }
    }
  }
  return undefined
}

/** A native response, streamed when the request says so, of a provider that has stored nothing. */
export function responses(options: ResponseOptions = {}): Behaviour {
  return async (request, exchange) => {
    const body = asObject(request.body)
    const refused = refusal(body)
    if (refused) {
      const { status, code = null, ...error } = refused
      return exchange.json(status, { error: { ...error, type: 'invalid_request_error', code } })
    }
    if (body.stream !== true) return exchange.json(200, responseBody(request, options))
    await sendEvents(exchange, responseEvents(request, options))
    exchange.raw.end()
  }
}

/** Sends events as the API does, each with its name. */
export async function sendEvents(exchange: Exchange, events: Iterable<Json>): Promise<void> {
  exchange.startStream()
  for (const event of events) await exchange.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

/** Streams up to and including the first event of a type, then does something else. */
export function responsesUntil(
  type: string,
  then: (exchange: Exchange, rest: Json[]) => void | Promise<void>,
  options: ResponseOptions = {},
): Behaviour {
  return async (request, exchange) => {
    const events = [...responseEvents(request, options)]
    const at = events.findIndex((event) => event.type === type) + 1
    await sendEvents(exchange, events.slice(0, at))
    await then(exchange, events.slice(at))
  }
}
