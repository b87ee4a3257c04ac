import { AsyncLocalStorage } from 'node:async_hooks'
import { type Context, type ContextManager, ROOT_CONTEXT } from '@opentelemetry/api'

/**
 * OpenTelemetry's context manager, with one thing more: a context can be entered for all that follows, without a function
 * to run in it. A listener that hears of a request can do no other, and what a tool traces by itself finds its parent.
 */
export class RequestContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()

  /** From here on, and in all that is begun from here, this context is the active one. */
  enter(context: Context): void {
    this.#storage.enterWith(context)
  }

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT
  }

  with<Args extends unknown[], Work extends (...args: Args) => ReturnType<Work>>(
    context: Context,
    work: Work,
    thisArg?: ThisParameterType<Work>,
    ...args: Args
  ): ReturnType<Work> {
    return this.#storage.run(context, () => work.apply(thisArg, args))
  }

  /** Functions only: of emitters the gateway binds none. */
  bind<Target>(context: Context, target: Target): Target {
    if (typeof target !== 'function') return target
    const storage = this.#storage
    return function bound(this: unknown, ...args: unknown[]): unknown {
      return storage.run(context, () => target.apply(this, args))
    } as Target
  }

  enable(): this {
    return this
  }

  disable(): this {
    this.#storage.disable()
    return this
  }
}
