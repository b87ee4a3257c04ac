import type { HookEvents } from './events.ts'

export type HookName = keyof HookEvents
export type HookListener<Name extends HookName> = (payload: HookEvents[Name]) => unknown

/** One `on` or `once`: the same listener may be added several times. */
interface Registration {
  listener: HookListener<HookName>
  once: boolean
}

/**
 * The one source of everything that observes the gateway: logs, metrics, traces and cost are listeners.
 *
 * Listeners run in the order they were added, synchronously. One that throws, or returns a promise that rejects, is
 * reported as `onListenerError` and changes nothing for the request or for the other listeners.
 */
export class HookBus {
  readonly #registrations = new Map<HookName, readonly Registration[]>()

  /** Adds a listener; returns a function that removes it. */
  on<Name extends HookName>(name: Name, listener: HookListener<Name>): () => void {
    return this.#add(name, { listener: listener as HookListener<HookName>, once: false })
  }

  /** Adds a listener that is removed before its first call. */
  once<Name extends HookName>(name: Name, listener: HookListener<Name>): () => void {
    return this.#add(name, { listener: listener as HookListener<HookName>, once: true })
  }

  /** Removes a listener, whichever way it was added; of several equal ones, the first. */
  off<Name extends HookName>(name: Name, listener: HookListener<Name>): void {
    const registration = this.#registrations.get(name)?.find((other) => other.listener === listener)
    if (registration) this.#remove(name, registration)
  }

  /** Whether anybody listens: what only listeners need is not worked out for nobody. */
  listens(name: HookName): boolean {
    return (this.#registrations.get(name)?.length ?? 0) > 0
  }

  emit<Name extends HookName>(name: Name, payload: HookEvents[Name]): void {
    // The list is replaced, never changed, so a listener may add or remove listeners while it runs.
    for (const registration of this.#registrations.get(name) ?? []) {
      if (registration.once && !this.#remove(name, registration)) continue
      try {
        const result = registration.listener(payload)
        if (result instanceof Promise) result.catch((error: unknown) => this.#report(name, error))
      } catch (error) {
        this.#report(name, error)
      }
    }
  }

  #add(name: HookName, registration: Registration): () => void {
    this.#registrations.set(name, [...(this.#registrations.get(name) ?? []), registration])
    return () => {
      this.#remove(name, registration)
    }
  }

  /** False when it was removed before. */
  #remove(name: HookName, registration: Registration): boolean {
    const registrations = this.#registrations.get(name) ?? []
    const rest = registrations.filter((other) => other !== registration)
    this.#registrations.set(name, rest)
    return rest.length < registrations.length
  }

  #report(event: HookName, error: unknown): void {
    // An error of the reporter itself has nowhere to go.
    if (event !== 'onListenerError') this.emit('onListenerError', { event, error })
  }
}
