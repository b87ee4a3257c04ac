import type {
  CallOptions,
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  ChunkChoice,
  ChunkDelta,
  LLMClient,
} from '../types.ts'

type PartialChoice = Partial<ChunkChoice> & Pick<ChunkChoice, 'index'>

/**
 * Streams what a client without real streaming answers as a whole, `size` characters of text a chunk. The first chunk
 * of a choice carries its role, the last its `finish_reason`, and a chunk with the usage ends the stream.
 */
export async function* simulateStream(
  client: LLMClient,
  request: ChatRequest,
  call: CallOptions,
  size: number,
): AsyncGenerator<ChatCompletionChunk> {
  const { stream: _stream, stream_options: _options, ...whole } = request
  const { choices, usage, ...head } = await client.complete(whole as ChatRequest, call)
  const chunk = (choice: PartialChoice): ChatCompletionChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    usage: null,
    choices: [{ delta: {}, finish_reason: null, ...choice }],
  })
  for (const { index, message, logprobs, finish_reason } of choices) {
    for (const delta of deltasOf(message, size)) yield chunk({ index, delta })
    yield chunk({ index, logprobs, finish_reason } as PartialChoice)
  }
  if (usage) yield { ...head, object: 'chat.completion.chunk', choices: [], usage }
}

function* deltasOf(message: ChatCompletion['choices'][number]['message'], size: number): Generator<ChunkDelta> {
  const { content, tool_calls, ...rest } = message
  yield { ...rest, content: content === null ? null : '' } as ChunkDelta
  // By code points: half a surrogate pair would reach the client as a broken character.
  const characters = Array.from(content ?? '')
  for (let at = 0; at < characters.length; at += size) yield { content: characters.slice(at, at + size).join('') }
  if (tool_calls)
    yield { tool_calls: tool_calls.map((call, index) => ({ index, ...call })) as ChunkDelta['tool_calls'] & {} }
}
