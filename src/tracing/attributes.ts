/** OpenTelemetry's names for what the hooks tell: its conventions for HTTP and for generative AI; `signalbox.*` for the rest. */
import type { Attributes } from '@opentelemetry/api'
import type { HookEvents } from '../hooks/events.ts'
import { isObject } from '../json.ts'
import type { AskedRequest, Usage } from '../types.ts'

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY'])

/** A server's span by its method and route, as far as they are known. */
export function nameOf(method: string, route = '_other'): string {
  const name = methods.has(method) ? method : 'HTTP'
  return route === '_other' ? name : `${name} ${route}`
}

/** Of a request that has arrived. */
export function ofRequest({ requestId, method, path, header }: HookEvents['onRequest']): Attributes {
  const isKnown = methods.has(method)
  const attributes: Attributes = {
    'http.request.method': isKnown ? method : '_OTHER',
    'url.scheme': 'http',
    'url.path': path,
    'signalbox.request.id': requestId,
  }
  if (!isKnown) attributes['http.request.method_original'] = method
  const userAgent = header?.('user-agent')
  if (userAgent) attributes['user_agent.original'] = userAgent
  return attributes
}

/** Of a request that is over. `error.type` is for failures of the server, as its span's status is. */
export function ofResponse(response: HookEvents['onResponse']): Attributes {
  const { route, status, outcome, errorCode, userId, model, target, costUsd, cache } = response
  const attributes: Attributes = {}
  if (route !== '_other') attributes['http.route'] = route
  // The number for a client that has left is sent to nobody.
  if (status !== 499) attributes['http.response.status_code'] = status
  if (hasFailed(response)) attributes['error.type'] = errorCode ?? String(status)
  if (outcome !== 'ok') attributes['signalbox.outcome'] = outcome
  if (errorCode !== undefined) attributes['signalbox.error.code'] = errorCode
  if (userId !== null) attributes['user.id'] = userId
  if (model !== undefined) attributes['signalbox.model'] = model
  if (target !== undefined) attributes['signalbox.target'] = target
  if (cache !== undefined) attributes['signalbox.cache'] = cache
  if (typeof costUsd === 'number') attributes['signalbox.cost.usd'] = costUsd
  return attributes
}

/** What a request failed with, whoever is to blame; undefined for one that did not. */
export const errorOf = ({ status, outcome, errorCode }: HookEvents['onResponse']): string | undefined =>
  outcome !== 'ok' && outcome !== 'client_closed' ? (errorCode ?? String(status)) : undefined

/** The server's own failures only: what a client did wrong, or did not wait for, is no error of its span. */
export const hasFailed = ({ status, outcome }: HookEvents['onResponse']): boolean =>
  outcome === 'stream_error' || (status >= 500 && outcome !== 'client_closed')

/**
 * The same text. V8 turns one that was looked up as a property into a pointer to the property's name. That is a fifth kind of
 * strings beside those that spans have anyway, and with five of them OpenTelemetry takes twice as long to write spans down, for good.
 */
const plain = (text: string): string => Object.keys({ [text]: true })[0] ?? text

/** Of a provider that is about to be asked. `provider` is the convention's name for it. */
export function ofAttempt(
  { operation, target, server, stream, request }: HookEvents['onAttempt'],
  provider: string,
): Attributes {
  const attributes: Attributes = {
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': plain(provider),
    'gen_ai.request.model': plain(target.model),
  }
  if (stream) attributes['gen_ai.request.stream'] = true
  if (server) {
    attributes['server.address'] = server.address
    attributes['server.port'] = server.port
  }
  addParameters(attributes, request())
  return attributes
}

/** Parameters of a request that are numbers, and their names. */
const numbers = Object.entries({
  max_tokens: 'gen_ai.request.max_tokens',
  max_completion_tokens: 'gen_ai.request.max_tokens',
  temperature: 'gen_ai.request.temperature',
  top_p: 'gen_ai.request.top_p',
  frequency_penalty: 'gen_ai.request.frequency_penalty',
  presence_penalty: 'gen_ai.request.presence_penalty',
  seed: 'gen_ai.request.seed',
  dimensions: 'gen_ai.embeddings.dimension.count',
})

function addParameters(attributes: Attributes, request: AskedRequest): void {
  for (const [field, name] of numbers) {
    const value = request[field]
    if (typeof value === 'number') attributes[name] = value
  }
  const { n, response_format: format, stop } = request
  if (typeof n === 'number' && n !== 1) attributes['gen_ai.request.choice.count'] = n
  if (isObject(format)) attributes['gen_ai.output.type'] = String(format.type).startsWith('json') ? 'json' : 'text'
  if (typeof stop === 'string') attributes['gen_ai.request.stop_sequences'] = [stop]
  else if (Array.isArray(stop)) attributes['gen_ai.request.stop_sequences'] = stop.map(String)
}

/** Of what came of it. */
export function ofAttemptEnd(end: HookEvents['onAttemptEnd']): Attributes {
  const { outcome, errorCode, firstTokenMs, usage, responseId, responseModel, finishReasons } = end
  const attributes: Attributes = usage ? ofUsage(usage, end.operation) : {}
  if (responseId !== undefined) attributes['gen_ai.response.id'] = responseId
  if (responseModel !== undefined) attributes['gen_ai.response.model'] = responseModel
  if (finishReasons) attributes['gen_ai.response.finish_reasons'] = [...finishReasons]
  if (firstTokenMs !== undefined) attributes['gen_ai.response.time_to_first_chunk'] = firstTokenMs / 1000
  if (outcome === 'error') attributes['error.type'] = errorCode ?? '_OTHER'
  if (outcome === 'aborted') attributes['signalbox.outcome'] = outcome
  return attributes
}

function ofUsage(usage: Usage, operation: 'chat' | 'embeddings'): Attributes {
  const { prompt_tokens, completion_tokens, prompt_tokens_details, completion_tokens_details } = usage
  const attributes: Attributes = { 'gen_ai.usage.input_tokens': prompt_tokens }
  if (operation === 'chat') attributes['gen_ai.usage.output_tokens'] = completion_tokens
  const cached = prompt_tokens_details?.cached_tokens
  if (cached) attributes['gen_ai.usage.cache_read.input_tokens'] = cached
  const reasoning = completion_tokens_details?.reasoning_tokens
  if (reasoning) attributes['gen_ai.usage.reasoning.output_tokens'] = reasoning
  return attributes
}
