import { asList } from './dialect.ts'
import type { Json, RecordedRequest } from './exchange.ts'

/** The messages of a chat-completions request. */
export const messagesOf = ({ body }: RecordedRequest): Json[] => asList((body as Json | undefined)?.messages)

/** What OpenAI refuses in a transcript, as it says it; undefined when there is nothing. */
export function complaint(messages: Json[]): string | undefined {
  let open: string[] = []
  for (const [index, message] of messages.entries()) {
    const { role, tool_calls, tool_call_id } = message
    if (role === 'tool') {
      if (!open.includes(String(tool_call_id))) {
        return `messages[${index}]: messages with role 'tool' must be a response to a preceding message with 'tool_calls'`
      }
      open = open.filter((id) => id !== tool_call_id)
    } else {
      if (open.length > 0) return `messages[${index}]: tool_call_ids did not have response messages: ${open.join(', ')}`
      open = asList(tool_calls).map(({ id }) => String(id))
      if (new Set(open).size < open.length) return `messages[${index}]: two tool calls have one id`
      if (role === 'assistant' && message.content === null && open.length === 0) {
        return `messages[${index}]: expected a string, got null`
      }
    }
  }
  return open.length > 0 ? `tool_call_ids did not have response messages: ${open.join(', ')}` : undefined
}
