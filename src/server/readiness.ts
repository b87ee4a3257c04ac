/** Returns what is wrong, or undefined when all is well. */
export type ReadinessCheck = () => string | undefined | Promise<string | undefined>

export interface ReadinessReport {
  status: 'ready' | 'not_ready'
  /** What is wrong, by the name of the check. */
  reasons?: Record<string, string>
}

/** Whether this process wants traffic. Parts that can be unready add a check. */
export class Readiness {
  readonly #checks = new Map<string, ReadinessCheck>()
  #draining = false

  /** True from {@link drain} on. */
  get draining(): boolean {
    return this.#draining
  }

  add(name: string, check: ReadinessCheck): void {
    this.#checks.set(name, check)
  }

  /** This process is going away: unready from now on. */
  drain(): void {
    this.#draining = true
  }

  async report(): Promise<ReadinessReport> {
    const reasons: Record<string, string> = this.#draining ? { shutdown: 'the gateway is shutting down' } : {}
    for (const [name, check] of this.#checks) {
      const reason = await Promise.resolve()
        .then(check)
        .catch((error: unknown) => (error instanceof Error ? error.message : String(error)))
      if (reason) reasons[name] = reason
    }
    return Object.keys(reasons).length === 0 ? { status: 'ready' } : { status: 'not_ready', reasons }
  }
}
