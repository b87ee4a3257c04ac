import type { HookEvents } from './events.ts'

export type HookName = keyof HookEvents
export type HookListener<Name extends HookName> = (payload: HookEvents[Name]) => unknown

/**
 * The one source of everything that observes the gateway: logs, metrics, traces and cost are listeners.
 *
 * Listeners run in the order they were added, synchronously. One that throws, or returns a promise that rejects, is
 * reported as `onListenerError` and changes nothing for the request or for the other listeners.
 */
export class HookBus {
  readonly #listeners = new Map<HookName, ReadonlyArray<HookListener<HookName>>>()

  /** Adds a listener; returns a function that removes it. */
  on<Name extends HookName>(name: Name, listener: HookListener<Name>): () => void {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener as HookListener<HookName>])
    return () => this.off(name, listener)
  }

  /** Adds a listener that is removed before its first call. */
  once<Name extends HookName>(name: Name, listener: HookListener<Name>): () => void {
    const off = this.on(name, (payload) => {
      off()
      return listener(payload)
    })
    return off
  }

  off<Name extends HookName>(name: Name, listener: HookListener<Name>): void {
    const listeners = this.#listeners.get(name)
    const index = listeners?.indexOf(listener as HookListener<HookName>) ?? -1
    if (listeners && index !== -1) this.#listeners.set(name, listeners.toSpliced(index, 1))
  }

  emit<Name extends HookName>(name: Name, payload: HookEvents[Name]): void {
    // The array is replaced, never changed, so a listener may add or remove listeners while it runs.
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const result = listener(payload)
        if (result instanceof Promise) result.catch((error: unknown) => this.#report(name, error))
      } catch (error) {
        this.#report(name, error)
      }
    }
  }

  #report(event: HookName, error: unknown): void {
    // An error of the reporter itself has nowhere to go.
    if (event !== 'onListenerError') this.emit('onListenerError', { event, error })
  }
}
