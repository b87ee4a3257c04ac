import type { CallOptions, ChatRequest, LLMClient } from '../types.ts'

const fields = ['tools', 'tool_choice', 'parallel_tool_calls', 'functions', 'function_call'] as const

/** A client that takes no tools of the caller's: they are left out, and the caller is told so. */
export function withoutTools(client: LLMClient): LLMClient {
  const stripped = (request: ChatRequest, call: CallOptions | undefined): ChatRequest => {
    if (!fields.some((field) => field in request)) return request
    if (request.tools?.length || request.functions?.length) {
      call?.onWarning?.('this model takes no tools from its callers; they were ignored')
    }
    return Object.fromEntries(
      Object.entries(request).filter(([field]) => !(fields as readonly string[]).includes(field)),
    ) as ChatRequest
  }
  const { embed } = client
  return {
    provider: client.provider,
    model: client.model,
    agent: client.agent && { ...client.agent, allowExternalTools: false },
    complete: (request, call) => client.complete(stripped(request, call), call),
    stream: (request, call) => client.stream(stripped(request, call), call),
    ...(embed ? { embed: (request, call) => embed.call(client, request, call) } : {}),
    close: async () => client.close?.(),
  }
}
