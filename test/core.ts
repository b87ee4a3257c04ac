import type { ChatMessage, OaiServer } from '../src/index.ts'
import type { Json, RecordedRequest } from './upstream.ts'

export const user = (content: string): ChatMessage => ({ role: 'user', content })
export const assistant = (content: string): ChatMessage => ({ role: 'assistant', content })
export const system = (content: string): ChatMessage => ({ role: 'system', content })

/** A call of a tool, as it is in an assistant's message. */
export const toolCall = (id: string, name: string, args = '{}') => ({
  id,
  type: 'function' as const,
  function: { name, arguments: args },
})

export const toolResult = (tool_call_id: string, content: string): ChatMessage => ({
  role: 'tool',
  tool_call_id,
  content,
})

/** A tool of the caller's, as a request offers it. */
export const callersTool = (name: string) => ({
  type: 'function' as const,
  function: { name, parameters: { type: 'object', properties: {} } },
})

/** A request to the core, without a framework. */
export const chat = (server: OaiServer, body: Json, init: RequestInit = {}): Promise<Response> =>
  server.handle(
    new Request('http://localhost/v1/chat/completions', { method: 'POST', body: JSON.stringify(body), ...init }),
  )

/** The conversation that a request names in its header. */
export const inConversation = (id: string): RequestInit => ({ headers: { 'x-conversation-id': id } })

/** The messages that the provider was sent. */
export const messagesOf = ({ body }: RecordedRequest): ChatMessage[] => (body as { messages: ChatMessage[] }).messages

/** Each message as one word or two: what a conversation is, at a glance. */
export const glance = (messages: readonly ChatMessage[]): string[] =>
  messages.map((message) => {
    const calls = message.role === 'assistant' ? (message.tool_calls ?? []) : []
    if (calls.length > 0) return `calls ${calls.map(({ id }) => id).join(' ')}`
    return message.role === 'tool'
      ? `${message.tool_call_id}: ${message.content}`
      : `${message.role} ${message.content}`
  })

/** Resolves when the condition holds; fails the test when it does not come to hold in good time. */
export async function eventually(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 3000; !condition(); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (performance.now() > end) throw new Error(`never came true: ${condition}`)
  }
}
