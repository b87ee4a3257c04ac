import type { Conversations } from '../agent/conversations.ts'
import type { HiddenSteps } from '../agent/hidden-steps.ts'
import type { AgentLoaderPlugin } from '../agent/loaders.ts'
import type { CompletionRecords } from '../completions/completion-records.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import type { Limiter } from '../limits/limiter.ts'
import type { ConversationRecords } from '../responses/conversation-records.ts'
import type { ResponseRecords } from '../responses/response-records.ts'
import type { Routes } from '../router/routes.ts'
import type { EventLog } from '../store/event-log.ts'
import type { Answer } from './answer.ts'
import type { BackgroundRuns } from './background-runs.ts'
import type { BodyLimits } from './body.ts'
import type { Exchange } from './exchange.ts'
import type { Readiness } from './readiness.ts'

/** What the endpoints work with. */
export interface ServerContext {
  /** The models as they were when the request arrived. */
  readonly router: Pick<Routes, 'find' | 'get' | 'list' | 'resolve'>
  readonly hooks: HookBus
  readonly readiness: Readiness
  readonly limits: BodyLimits
  /** Undefined where nothing is limited. */
  readonly limiter: Limiter | undefined
  /** A silent stream sends a comment this often, in milliseconds. */
  readonly keepAliveMs: number
  readonly streamChunkChars: number
  readonly agentLoader: AgentLoaderPlugin | undefined
  /** Milliseconds. */
  readonly loaderTimeoutMs: number
  /** Undefined where no conversation is kept. */
  readonly conversations: Conversations | undefined
  readonly hiddenSteps: HiddenSteps
  readonly responses: ResponseRecords
  /** Those of the Conversations API, which responses are turns of. */
  readonly conversationRecords: ConversationRecords
  readonly completions: CompletionRecords
  /** The events of responses that are stored, and of chat completions that can be resumed. */
  readonly eventLog: EventLog
  /** What this process makes whether or not its client stays. */
  readonly backgroundRuns: BackgroundRuns
}

/** Answers the requests of one route. May throw; the server turns that into the error envelope. */
export type Endpoint = (exchange: Exchange, context: ServerContext) => Answer | Promise<Answer>
