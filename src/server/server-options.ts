import type { AgentLoaderPlugin, ConversationLoaderPlugin } from '../agent/loaders.ts'
import type { AuthPlugin, AuthVerifyResult } from '../auth/auth-plugin.ts'
import type { HookBus } from '../hooks/hook-bus.ts'
import type { Limiter } from '../limits/limiter.ts'
import type { ModelRouter, ServerEntry } from '../router/model-router.ts'
import type { EventLog } from '../store/event-log.ts'
import type { Leases } from '../store/lease.ts'
import type { Persistence } from '../store/persistence.ts'
import type { ResponseStore } from '../store/response-store.ts'
import type { SortedIndex } from '../store/sorted-index.ts'
import type { Prices } from './bill.ts'
import type { BodyLimits } from './body.ts'
import type { Readiness } from './readiness.ts'

export interface OaiServerOptions {
  /** Models to register. Default none. */
  entries?: readonly ServerEntry[]
  /** For `start`. Default 4000; 0 takes a free one. */
  port?: number
  /** For `start`. Default `127.0.0.1`. */
  hostname?: string
  /** Default: a fresh bus. */
  hooks?: HookBus
  /** Default: none, and every request is anonymous. */
  auth?: AuthPlugin
  /** Default: a fresh one in memory, or on `responseStorePersistence`. Pass one to share it across servers. */
  responseStore?: ResponseStore
  responseStorePersistence?: Persistence
  /** How long a conversation of the Conversations API is kept after its last turn. Default: as the store keeps responses. */
  conversationTtlSeconds?: number
  /** Which chat completions of a user are stored, for who lists them. Default: in memory. */
  completionIndex?: SortedIndex
  /** Where the events of stored responses are, and of resumable streams, for who loses its connection. Default: in memory, for an hour. */
  eventLog?: EventLog
  /** Characters a chunk, for clients that cannot stream. Default 40. */
  streamChunkChars?: number
  /** Default: a fresh one. */
  router?: ModelRouter
  /** Default: ready until `stop`. */
  readiness?: Readiness
  /** Agents per request. Default: none, and every model is its registered entry. */
  agentLoader?: AgentLoaderPlugin
  /** Where conversations are kept. Default: nowhere, and every request stands alone. */
  conversationLoader?: ConversationLoaderPlugin
  /** Milliseconds that a loader, or a store, may take. Default 5000. */
  loaderTimeoutMs?: number
  /** Where the turns of a conversation wait for each other. Default: in this process. */
  leases?: Leases
  /** Milliseconds that a turn waits for the one before it; then it is refused with 409. Default 10 000. */
  lockTimeoutMs?: number
  /** Where runs wait for their callers' tools. Default: in memory. */
  hiddenStepsPersistence?: Persistence
  /** What calls cost. Default: unknown. */
  prices?: Prices
  /** What keeps the limits of keys, models and the gateway. Default: none, and nothing is limited. */
  limiter?: Limiter | undefined
  limits?: Partial<BodyLimits>
  /** A stream that is silent this long, in milliseconds, gets a comment. Default 15 000. */
  keepAliveMs?: number
  /** Answer `Access-Control-Allow-Origin: *`. Default true; false where something in front speaks CORS. */
  cors?: boolean
}

/** What a host has already established about a request. */
export interface HandleContext {
  /** Who sends it; `null` for nobody. When given, nothing is verified again. */
  principal?: AuthVerifyResult | null | undefined
  /** Default: a new one. */
  requestId?: string
  /** When it arrived, as `performance.now()`: what was done for it before this is a part of it. Default: now. */
  startedAt?: number
  /** Headers for the answer, such as a host's CORS headers. */
  headers?: Readonly<Record<string, string>>
  /** Hears of work that goes on after the answer, as a response in the background does. */
  keepFor?: ((work: Promise<unknown>) => void) | undefined
}
