import { GatewayError } from '../server/errors.ts'
import type { AgentTraits, AskedRequest, CallOptions, FallbackReason, LLMClient, ResponsesAPI } from '../types.ts'
import { Candidate } from './candidate.ts'
import type { Choice } from './choice.ts'
import { fastest } from './choose-latency.ts'
import { leastBusy } from './choose-least-busy.ts'
import { type Sticky, staying } from './choose-sticky.ts'
import { drawn } from './choose-weighted.ts'
import { withDeadline } from './deadline.ts'
import { faultOfEvent, faultOfResponse } from './failed-response.ts'
import { usualReasons } from './fallback-reasons.ts'
import type { Operation } from './pace.ts'
import { isRoleOnly, isTaken } from './prelude.ts'
import { type Rules, shortestWait, Walk } from './walk.ts'
import { type PieceSource, WalkingStream } from './walking-stream.ts'

export interface PlanTarget {
  client: LLMClient
  /** Its share of the requests, relative to the other targets'. Default 1; 0 takes a target out. */
  weight?: number | undefined
  /** Lower ones are asked first; the next are for when all of those have failed or take no requests. Default 0. */
  priority?: number | undefined
}

export interface PlanOptions {
  targets: readonly PlanTarget[]
  /** Among targets of one priority: by weight, the fastest of late, or the one with the fewest open requests for its weight. Default `weighted`. */
  choose?: 'weighted' | 'latency' | 'least-busy' | undefined
  /**
   * What stays with one target. Default: a conversation when `choose` is `weighted`, for its provider has the prompt in its cache and the
   * shares stay what they were; else nothing, for that would leave little to choose.
   */
  sticky?: Sticky | undefined
  /** After which failures another target is asked. Default: 5xx, lost and refused connections, timeouts, 429. */
  fallbackOn?: readonly FallbackReason[] | undefined
  /** Milliseconds that a request may take in all. Default: any time. */
  deadlineMs?: number | undefined
}

const choices = { weighted: drawn, latency: fastest, 'least-busy': leastBusy }

/**
 * A client of several targets: each request goes to one of them, and on to others as long as those fail before the answer begins.
 * A plan of one target is that target's own client.
 *
 * @throws Error when there is no target with a weight above 0
 */
export function plan(options: PlanOptions): LLMClient {
  const { targets, choose = 'weighted', deadlineMs } = options
  const { sticky = choose === 'weighted' ? 'conversation' : 'none', fallbackOn = usualReasons } = options
  const [first] = targets
  if (!first) throw new Error('a model needs at least one target')
  const candidates = candidatesOf(targets)
  if (candidates.length === 0) throw new Error('a model needs at least one target with a weight above 0')

  const client =
    targets.length === 1 ? first.client : planned(targets, candidates, staying(sticky, choices[choose]), fallbackOn)
  return deadlineMs === undefined ? client : withDeadline(client, deadlineMs)
}

function planned(
  targets: readonly PlanTarget[],
  candidates: readonly Candidate[],
  choice: Choice,
  fallbackOn: readonly FallbackReason[],
): LLMClient {
  const clients = targets.map(({ client }) => client)
  const rules: Rules = { choice, reasons: new Set(fallbackOn), runs: new WeakMap() }
  const embedding = candidates.filter(({ client }) => client.embed)

  async function whole<Answer>(
    able: readonly Candidate[],
    asked: { operation: Operation; request: AskedRequest; call?: CallOptions | undefined },
    ask: (client: LLMClient, call: CallOptions) => Promise<Answer>,
    faultIn?: (answer: Answer) => GatewayError | undefined,
  ): Promise<Answer> {
    const walk = new Walk(rules, able, { ...asked, call: asked.call ?? {} })
    for (let { client } = walk.begin(); ; ) {
      try {
        const answer = await ask(client, walk.call)
        const fault = faultIn?.(answer)
        if (fault && walk.canGoOn(fault)) throw fault
        walk.answered()
        walk.over()
        return answer
      } catch (error) {
        client = walk.goOn(error).client
      }
    }
  }

  function streamed<Piece>(request: AskedRequest, call: CallOptions = {}, source: PieceSource<Piece>) {
    return new WalkingStream(new Walk(rules, candidates, { operation: 'stream', request, call }), source)
  }

  return {
    provider: oneOf(clients.map(({ provider }) => provider)),
    model: oneOf(clients.map(({ model }) => model)),
    agent: traitsOf(clients.flatMap(({ agent }) => agent ?? [])),
    complete: (request, call) =>
      whole(candidates, { operation: 'whole', request, call }, (client, call) => client.complete(request, call)),
    stream: (request, call) =>
      streamed(request, call, { open: ({ client }, call) => client.stream(request, call), isPrelude: isRoleOnly }),
    async embed(request, call) {
      if (embedding.length === 0) throw noEmbeddings(request)
      return whole(embedding, { operation: 'embed', request, call }, async (client, call) => {
        if (client.embed) return client.embed(request, call)
        throw noEmbeddings(request)
      })
    },
    // Whoever is chosen must be able to: a request for responses is either translated or not.
    responses: clients.every(({ responses }) => responses)
      ? {
          create: (request, call) =>
            whole(
              candidates,
              { operation: 'whole', request, call },
              (client, call) => native(client.responses).create(request, call),
              faultOfResponse,
            ),
          stream: (request, call) =>
            streamed(request, call, {
              open: ({ client }, call) => native(client.responses).stream(request, call),
              isPrelude: isTaken,
              faultIn: faultOfEvent,
            }),
        }
      : undefined,
    unavailableMs: () => shortestWait(candidates),
    async close() {
      await Promise.all(clients.map((client) => client.close?.()))
    },
  }
}

/** Those that may be asked, by priority. */
function candidatesOf(targets: readonly PlanTarget[]): Candidate[] {
  const named = new Map<string, number>()
  const candidates = targets.map(({ client, weight = 1, priority = 0 }) => {
    const name = `${client.provider}/${client.model}`
    const before = named.get(name) ?? 0
    named.set(name, before + 1)
    return new Candidate(client, weight, priority, before === 0 ? name : `${name}#${before}`)
  })
  return candidates.filter(({ weight }) => weight > 0)
}

const noEmbeddings = ({ model }: { model: string }): GatewayError =>
  new GatewayError('unsupported', `model "${model}" does not make embeddings`, { param: 'model' })

function native(responses: ResponsesAPI | undefined): ResponsesAPI {
  if (responses) return responses
  throw new GatewayError('unsupported', 'this model has no responses of its own', { param: 'model' })
}

/** Of several agents: what holds for all of them, whichever is chosen. */
function traitsOf(agents: readonly AgentTraits[]): AgentTraits | undefined {
  if (agents.length === 0) return undefined
  return {
    allowExternalTools: agents.every(({ allowExternalTools }) => allowExternalTools),
    toolNames: [...new Set(agents.flatMap(({ toolNames }) => toolNames))],
    keepsHistory: agents.some(({ keepsHistory }) => keepsHistory),
  }
}

/** The value that all share, or `mixed`. */
const oneOf = (values: readonly string[]): string => (new Set(values).size === 1 && values[0]) || 'mixed'
