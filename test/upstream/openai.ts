import { type CompletionOptions, completionBody, completionChunks, wantsStream } from './answers.ts'
import { asList, asObject, type Dialect, finishOf, type Script, usageOf } from './dialect.ts'

function options(script: Script): CompletionOptions {
  const usage = usageOf(script)
  return {
    ...(script.text ? { tokens: script.text } : {}),
    ...(script.reasoning ? { reasoning: script.reasoning.join('') } : {}),
    ...(script.calls
      ? { toolCalls: script.calls.map((call) => ({ ...call, arguments: JSON.stringify(call.arguments) })) }
      : {}),
    finishReason: finishOf(script),
    usage: {
      prompt_tokens: usage.prompt,
      completion_tokens: usage.completion,
      total_tokens: usage.prompt + usage.completion,
      prompt_tokens_details: { cached_tokens: usage.cached },
      completion_tokens_details: { reasoning_tokens: usage.reasoning },
    },
  }
}

const textOf = (content: unknown): string =>
  typeof content === 'string'
    ? content
    : asList(content)
        .map(({ text }) => text ?? '')
        .join('')

/** OpenAI's chat completions. */
export const openai: Dialect = {
  path: '/v1',
  isStream: wantsStream,
  body: (request, script) => completionBody(request, options(script)),
  events: (request, script) => [
    ...Array.from(completionChunks(request, options(script)), (chunk) => `data: ${JSON.stringify(chunk)}\n\n`),
    'data: [DONE]\n\n',
  ],
  error: (status, message) => ({
    error: { message, type: status >= 500 ? 'server_error' : 'invalid_request_error', param: null, code: null },
  }),
  errorEvent: (code) => `data: ${JSON.stringify({ error: { message: 'broken off', type: 'server_error', code } })}\n\n`,
  understood({ body }) {
    const request = asObject(body)
    const messages = asList(request.messages)
    const choice = asObject(request.tool_choice)
    return {
      system: messages
        .filter(({ role }) => role === 'system' || role === 'developer')
        .map(({ content }) => textOf(content))
        .join(''),
      user: textOf(messages.find(({ role }) => role === 'user')?.content),
      images: messages
        .flatMap(({ content }) => asList(content))
        .flatMap(({ image_url }) => (image_url ? [String(asObject(image_url).url).replace(/^data:/, '')] : [])),
      tools: asList(request.tools).map((tool) => String(asObject(tool.function).name)),
      toolChoice: choice.function
        ? String(asObject(choice.function).name)
        : (request.tool_choice as string | undefined),
      calls: messages
        .flatMap(({ tool_calls }) => asList(tool_calls))
        .map((call) => {
          const { name, arguments: json } = asObject(call.function)
          return { id: String(call.id), name: String(name), arguments: JSON.parse(String(json)) }
        }),
      results: messages
        .filter(({ role }) => role === 'tool')
        .map(({ tool_call_id, content }) => ({ id: String(tool_call_id), text: textOf(content) })),
      schema: asObject(asObject(request.response_format).json_schema).schema,
      maxTokens: request.max_completion_tokens,
      temperature: request.temperature,
      topP: request.top_p,
      stop: request.stop,
    }
  },
}
