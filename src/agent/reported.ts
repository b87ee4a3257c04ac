import { GatewayError } from '../server/errors.ts'
import type { CallOptions, ConversationReport } from '../types.ts'

/** Does something with a conversation, and tells who listens what came of it, and how long it took. */
export async function reported<Result>(
  operation: ConversationReport['operation'],
  { onConversation, signal }: CallOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  const startedAt = performance.now()
  const tell = (outcome: ConversationReport['outcome']): void =>
    onConversation?.({ operation, outcome, durationMs: performance.now() - startedAt })
  try {
    const result = await work()
    tell('ok')
    return result
  } catch (error) {
    const isLocked = error instanceof GatewayError && error.kind === 'conversation_locked'
    tell(isLocked ? 'locked' : signal?.aborted ? 'aborted' : 'failed')
    throw error
  }
}
