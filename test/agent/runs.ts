import type { Test } from 'tap'
import { ToolLoop } from '../../src/agent/tool-loop.ts'
import { Toolbox } from '../../src/agent/toolbox.ts'
import {
  type AgentTool,
  type CallOptions,
  type ChatCompletionChunk,
  type ChatMessage,
  type ChatRequest,
  defineTool,
  type LLMClient,
} from '../../src/index.ts'
import { assertSchema } from '../openapi.ts'
import type { Behaviour, CompletionOptions, Json, Upstream } from '../upstream.ts'

/** A question, streamed or not. */
export const ask = (content: string, more: Json = {}): ChatRequest => ({
  model: 'm',
  messages: [{ role: 'user', content }],
  ...more,
})

/** All chunks of a stream, each checked against OpenAI's schema, and all together against what a stream is. */
export async function chunksOf(
  t: Test,
  client: LLMClient,
  request: ChatRequest,
  call?: CallOptions,
): Promise<ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = []
  for await (const chunk of client.stream({ ...request, stream: true }, call)) {
    assertSchema('CreateChatCompletionStreamResponse', chunk)
    chunks.push(chunk)
  }
  const choices = chunks.flatMap((chunk) => chunk.choices)
  t.equal(new Set(chunks.map(({ id, created, model }) => `${id} ${created} ${model}`)).size, 1, 'one id')
  t.strictSame(
    choices.flatMap(({ delta }) => delta.role ?? []),
    ['assistant'],
    'one role',
  )
  t.equal(choices[0]?.delta.role, 'assistant', 'which comes first')
  t.equal(choices.filter(({ finish_reason }) => finish_reason).length, 1, 'one finish reason')
  t.ok(choices.at(-1)?.finish_reason, 'which comes last')
  return chunks
}

/** What a caller has in the end. */
export interface Said {
  content: string
  refusal: string
  thoughts: string
  calls: { id: string; name: string; arguments: string }[]
  finish: string | null | undefined
}

/** What the chunks say together. */
export function saidIn(chunks: readonly ChatCompletionChunk[]): Said {
  const said: Said = { content: '', refusal: '', thoughts: '', calls: [], finish: undefined }
  for (const { delta, finish_reason } of chunks.flatMap(({ choices }) => choices)) {
    said.content += delta.content ?? ''
    said.refusal += delta.refusal ?? ''
    said.thoughts += (delta as { reasoning_content?: string }).reasoning_content ?? ''
    said.finish = finish_reason ?? said.finish
    for (const { index, id, function: called } of delta.tool_calls ?? []) {
      said.calls[index] ??= { id: '', name: '', arguments: '' }
      const call = said.calls[index]
      call.id += id ?? ''
      call.name += called?.name ?? ''
      call.arguments += called?.arguments ?? ''
    }
  }
  return said
}

/** What the answer says. */
export async function saidBy(client: LLMClient, request: ChatRequest, call?: CallOptions): Promise<Said> {
  const answer = await client.complete(request, call)
  assertSchema('CreateChatCompletionResponse', answer)
  const [choice] = answer.choices
  const { content, refusal, tool_calls = [], ...rest } = choice?.message ?? { content: null, refusal: null }
  return {
    content: content ?? '',
    refusal: refusal ?? '',
    thoughts: (rest as { reasoning_content?: string }).reasoning_content ?? '',
    calls: tool_calls.map((call) => ({
      id: call.id,
      name: '',
      arguments: '',
      ...('function' in call && call.function),
    })),
    finish: choice?.finish_reason,
  }
}

/** A step of the model's: the calls that it makes, by tool name, with the ids call_1, call_2, … */
export const calling = (...calls: [name: string, args?: string][]): Required<Pick<CompletionOptions, 'toolCalls'>> => ({
  toolCalls: calls.map(([name, args = '{}'], index) => ({ id: `call_${index + 1}`, name, arguments: args })),
})

/** A stream of exactly these deltas. */
export const deltas =
  (list: Json[], finish: string | null = 'tool_calls', more: Json = {}): Behaviour =>
  async (_request, exchange) => {
    const chunk = (delta: Json, finish_reason: string | null = null): Json => ({
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1,
      model: 'm',
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      ...more,
    })
    exchange.startStream()
    for (const delta of list) await exchange.event(chunk(delta))
    if (finish) await exchange.event(chunk({}, finish))
    await exchange.done()
  }

/** An answer with exactly this message. */
export const answering =
  (message: Json, finish_reason = 'stop', more: Json = {}): Behaviour =>
  (_request, exchange) =>
    exchange.json(200, {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1,
      model: 'm',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: null, refusal: null, ...message },
          logprobs: null,
          finish_reason,
        },
      ],
      ...more,
    })

/** The results that a model was told, by the id of the call. */
export const resultsIn = (messages: readonly ChatMessage[]): Record<string, unknown> =>
  Object.fromEntries(
    messages.flatMap((message) => (message.role === 'tool' ? [[message.tool_call_id, message.content]] : [])),
  )

/** What it fails with; fails itself when it does not. */
export const failure = async (work: Promise<unknown>): Promise<Error> => {
  const end = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (end instanceof Error) return end
  throw new Error('it did not fail')
}

export const clock: AgentTool = { name: 'clock', execute: () => 'noon' }

/** Says what it is told. */
export const echo = defineTool({
  name: 'echo',
  parameters: { type: 'object', properties: { say: { type: 'string' } }, required: ['say'] },
  execute: ({ say }) => say,
})

/** Loops around a model of the upstream's; by default with a clock and an echo. */
export const loopAround =
  (client: LLMClient) =>
  (maxSteps = 10, ...tools: AgentTool[]): ToolLoop =>
    new ToolLoop({ client, toolbox: new Toolbox(tools.length > 0 ? tools : [clock, echo]), maxSteps })

/** The bodies that the upstream was sent. */
export const bodiesOf = ({ requests }: Upstream): Json[] => requests.map(({ body }) => body as Json)

/** The names of the tools that the model was offered first. */
export const offeredBy = (upstream: Upstream): string[] =>
  (bodiesOf(upstream)[0] as { tools: { function: { name: string } }[] }).tools.map((tool) => tool.function.name)

/** The same run, answered and streamed: what the caller has in the end must be the same. */
export const runBoth =
  (upstream: Upstream) =>
  async (t: Test, client: LLMClient, request: ChatRequest, ...steps: Behaviour[]): Promise<Said> => {
    upstream.reset()
    upstream.next(...steps)
    const answered = await saidBy(client, request)
    const asked = upstream.requests.length
    upstream.reset()
    upstream.next(...steps)
    const streamed = saidIn(await chunksOf(t, client, request))
    t.strictSame(streamed, answered, 'the stream says what the answer says')
    t.equal(upstream.requests.length, asked, 'in as many steps')
    return answered
  }
