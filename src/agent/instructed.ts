import type { ChatRequest, LLMClient } from '../types.ts'

/** A client whose every request begins with a system message of the operator's, before whatever the caller sends. */
export function instructed(client: LLMClient, system: string): LLMClient {
  const withSystem = (request: ChatRequest): ChatRequest => ({
    ...request,
    messages: [{ role: 'system', content: system }, ...request.messages],
  })
  return {
    provider: client.provider,
    model: client.model,
    agent: client.agent,
    complete: (request, call) => client.complete(withSystem(request), call),
    stream: (request, call) => client.stream(withSystem(request), call),
    close: async () => client.close?.(),
  }
}
