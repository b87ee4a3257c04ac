import { startUpstream, type Upstream } from '../upstream.ts'
import { asList, asObject, type Dialect, finishOf, play, refuse, type Script, usageOf } from './dialect.ts'
import type { Behaviour, Json, RecordedRequest } from './exchange.ts'

const finishReasons = { stop: 'STOP', length: 'MAX_TOKENS', tool_calls: 'STOP', content_filter: 'SAFETY' }
const statuses: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
}

/** The signature of a thought, which the API wants back with the call that it led to. */
export const SIGNATURE = 'CpcBAVSoXO4'

const endpoint = /^\/v1beta\/models\/([^:]+):(\w+)(\?alt=sse)?$/

const modelOf = ({ path }: RecordedRequest): string => endpoint.exec(path)?.[1] ?? ''

/** The API leaves out what is zero, and counts the answer only at its end. */
function usageMetadata(script: Script, ended: boolean): Json {
  const { prompt, cached, completion, reasoning } = usageOf(script)
  const counts = {
    promptTokenCount: prompt,
    candidatesTokenCount: ended ? completion - reasoning : 1,
    totalTokenCount: ended ? prompt + completion : prompt + 1,
    cachedContentTokenCount: cached,
    thoughtsTokenCount: ended ? reasoning : 0,
  }
  const told = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
  return { ...told, promptTokensDetails: [{ modality: 'TEXT', tokenCount: prompt }] }
}

/** The answer, a part for each piece. Only the first of parallel calls is signed. */
const parts = ({ reasoning, text, calls }: Script): Json[] => [
  ...(reasoning ?? []).map((text) => ({ text, thought: true })),
  ...(text ?? []).map((text) => ({ text })),
  ...(calls ?? []).map(({ id, name, arguments: args }, index) => ({
    functionCall: { id, name, args },
    ...(index === 0 ? { thoughtSignature: SIGNATURE } : {}),
  })),
]

const response = (request: RecordedRequest, script: Script, parts: Json[], finishReason?: string): Json => ({
  candidates: [{ content: { parts, role: 'model' }, ...(finishReason ? { finishReason } : {}), index: 0 }],
  usageMetadata: usageMetadata(script, finishReason !== undefined),
  modelVersion: modelOf(request),
  responseId: 'bG9jYWwtZ29vZ2xl',
})

const event = (data: Json): string => `data: ${JSON.stringify(data)}\r\n\r\n`

const error = (status: number, message: string): Json => ({
  error: { code: status, message, status: statuses[status] ?? 'INTERNAL' },
})

/** The Gemini API: generateContent and streamGenerateContent. */
export const google: Dialect = {
  path: '/v1beta',
  isStream: ({ path }) => path.endsWith(':streamGenerateContent?alt=sse'),
  body: (request, script) => response(request, script, parts(script), finishReasons[finishOf(script)]),
  events: (request, script) => [
    ...parts(script).map((part) => event(response(request, script, [part]))),
    event(response(request, script, [{ text: '' }], finishReasons[finishOf(script)])),
  ],
  error,
  errorEvent: (status) => event(error(status, 'Internal error encountered.')),
  understood({ body }) {
    const request = asObject(body)
    const contents = asList(request.contents)
    // Since Gemini 3 the files of a function response are within it.
    const all = contents
      .flatMap(({ parts }) => asList(parts))
      .flatMap((part) => [part, ...asList(asObject(part.functionResponse).parts)])
    const config = asObject(request.generationConfig)
    const { mode, allowedFunctionNames } = asObject(asObject(request.toolConfig).functionCallingConfig)
    const modes: Json = { AUTO: 'auto', NONE: 'none', ANY: 'required' }
    return {
      system: asList(asObject(request.systemInstruction).parts)
        .map(({ text }) => text)
        .join(''),
      user: asList(contents[0]?.parts)
        .map(({ text }) => text ?? '')
        .join(''),
      images: all.flatMap(({ inlineData, fileData }) => {
        const { mimeType, data } = asObject(inlineData)
        if (inlineData) return [`${mimeType};base64,${data}`]
        return fileData ? [String(asObject(fileData).fileUri)] : []
      }),
      tools: asList(request.tools)
        .flatMap(({ functionDeclarations }) => asList(functionDeclarations))
        .map(({ name }) => String(name)),
      toolChoice: Array.isArray(allowedFunctionNames)
        ? String(allowedFunctionNames[0])
        : (modes[String(mode)] as string | undefined),
      calls: all.flatMap(({ functionCall }) => {
        const { id, name, args } = asObject(functionCall)
        return functionCall ? [{ id: String(id), name: String(name), arguments: args }] : []
      }),
      results: all.flatMap(({ functionResponse }) => {
        const { id, response } = asObject(functionResponse)
        return functionResponse ? [{ id: String(id), text: String(asObject(response).content) }] : []
      }),
      schema: config.responseJsonSchema,
      maxTokens: config.maxOutputTokens,
      temperature: config.temperature,
      topP: config.topP,
      stop: config.stopSequences,
    }
  },
}

type Complaint = [status: number, message: string]

const invalid = (message: string): Complaint => [400, message]

/** What the API refuses in the parts of a turn, or of the system instruction. */
function partComplaint(field: string, parts: Json[]): Complaint | undefined {
  if (parts.length === 0) return invalid(`* GenerateContentRequest.${field}.parts: contents.parts must not be empty.`)
  const empty = parts.findIndex(({ text, ...rest }) => !text && Object.keys(rest).length === 0)
  if (empty < 0) return undefined
  const part = `* GenerateContentRequest.${field}.parts[${empty}]`
  return invalid(`${part}.data: required oneof field 'data' must have one initialized field`)
}

/** What the API refuses in a request, as it says it; undefined when there is nothing. */
function complaint({ headers, body }: RecordedRequest): Complaint | undefined {
  const { contents, systemInstruction } = asObject(body)
  const turns = asList(contents)
  const count = (turn: Json | undefined, kind: string): number =>
    asList(turn?.parts).filter((part) => kind in part).length
  if (!headers['x-goog-api-key']) return [403, "Method doesn't allow unregistered callers"]
  if (turns.length === 0) return invalid('* GenerateContentRequest.contents: contents is not specified')
  for (const [index, turn] of turns.entries()) {
    if (turn.role !== 'user' && turn.role !== 'model') return invalid('Please use a valid role: user, model.')
    const problem = partComplaint(`contents[${index}]`, asList(turn.parts))
    if (problem) return problem
    const calls = count(turn, 'functionCall')
    if (calls > 0 && count(turns[index + 1], 'functionResponse') !== calls) {
      return invalid(
        'Please ensure that the number of function response parts is equal to the number of function call parts',
      )
    }
    if (count(turn, 'functionResponse') > 0 && count(turns[index - 1], 'functionCall') === 0) {
      return invalid('Please ensure that function response turn comes immediately after a function call turn.')
    }
  }
  return systemInstruction ? partComplaint('system_instruction', asList(asObject(systemInstruction).parts)) : undefined
}

/** Answers as the API does: refuses what it refuses, and else says what the user said. */
const geminiAPI: Behaviour = (request, exchange) => {
  const method = endpoint.exec(request.path)?.[2]
  if (method === 'embedContent') return exchange.json(200, { embedding: { values: [0.5, -0.25] } })
  if (method === 'batchEmbedContents') {
    const { requests } = asObject(request.body)
    return exchange.json(200, { embeddings: asList(requests).map((_, index) => ({ values: [index, 0.5] })) })
  }
  if (method !== 'generateContent' && !google.isStream(request))
    return refuse(google, 404, 'Not found')(request, exchange)
  const problem = complaint(request)
  if (problem) return refuse(google, ...problem)(request, exchange)
  return play(google, { text: ['You said:', ` ${google.understood(request).user}`] })(request, exchange)
}

/** A local server that speaks the Gemini API. `behave()` without argument is the faithful API. */
export async function startGoogle(): Promise<Upstream> {
  const upstream = await startUpstream()
  upstream.behave(geminiAPI)
  return {
    ...upstream,
    baseURL: upstream.baseURL.replace(/\/v1$/, google.path),
    behave: (behaviour = geminiAPI) => upstream.behave(behaviour),
    reset() {
      upstream.reset()
      upstream.behave(geminiAPI)
    },
  }
}
