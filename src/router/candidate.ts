import type { LLMClient } from '../types.ts'
import { type Operation, Pace } from './pace.ts'

/** One target of a plan, and what this process has seen of it. */
export class Candidate {
  readonly client: LLMClient
  /** Above 0. */
  readonly weight: number
  readonly priority: number
  /** The same on every replica, and no other target's of the plan. */
  readonly name: string
  readonly pace = new Pace()
  #inFlight = 0

  constructor(client: LLMClient, weight: number, priority: number, name: string) {
    this.client = client
    this.weight = weight
    this.priority = priority
    this.name = name
  }

  /** Requests that it has not finished. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** A request is sent to it. */
  visit(operation: Operation): Visit {
    this.#inFlight++
    const waiting = this.pace.begin(operation)
    let isOver = false
    return {
      answered: () => waiting.answered(),
      failed: () => waiting.failed(),
      over: () => {
        if (isOver) return
        isOver = true
        waiting.left()
        this.#inFlight--
      },
    }
  }
}

/** One request at one target. */
export interface Visit {
  /** The answer is here, or its first piece. */
  answered(): void
  /** By a fault of the target's. */
  failed(): void
  /** Nothing more will come. A second time does nothing. */
  over(): void
}
