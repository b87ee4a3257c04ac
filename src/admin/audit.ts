import type { HookEvents } from '../hooks/events.ts'
import type { HookBus } from '../hooks/hook-bus.ts'

/** One call of the admin API, from its arrival to its answer. */
export class Audit {
  readonly #requestId: string
  #action: string
  #admin: string | null = null
  #subject: string | undefined
  #changes: readonly string[] | undefined

  constructor(requestId: string, action: string) {
    this.#requestId = requestId
    this.#action = action
  }

  get admin(): string | null {
    return this.#admin
  }

  /** What the call is to do, where its route alone does not say. */
  does(action: string): void {
    this.#action = action
  }

  /** Who calls. */
  by(admin: string): void {
    this.#admin = admin
  }

  /** What the call is about, and which fields it changes. */
  concerns(subject: string, changes?: readonly string[]): void {
    this.#subject = subject.slice(0, 256)
    this.#changes = changes
  }

  /** The call is answered. */
  end(hooks: HookBus, status: number): void {
    hooks.emit('onAdmin', {
      requestId: this.#requestId,
      admin: this.#admin,
      action: this.#action,
      ...(this.#subject === undefined ? {} : { subject: this.#subject }),
      ...(this.#changes === undefined ? {} : { changes: this.#changes }),
      outcome: this.#admin === null && status < 500 ? 'refused' : outcomeOf(status),
      status,
    })
  }
}

function outcomeOf(status: number): HookEvents['onAdmin']['outcome'] {
  if (status < 400) return 'ok'
  return status < 500 ? 'invalid' : 'failed'
}
