/** What metrics need to know of a request that is not over. */
export class OpenRequest {
  /** Of the GenAI conventions; absent while it is not settled that a model, or which one, answers. */
  operation: 'chat' | 'embeddings' | 'invoke_agent' | undefined
  /** The head of its event stream has been sent. */
  isStream = false
  #attempts = 0
  #askedAt = 0
  #waitedMs = 0

  /** A provider is asked. */
  ask(): void {
    if (this.#attempts++ === 0) this.#askedAt = performance.now()
  }

  /** A provider has answered, or is not waited for any more. */
  answered(): void {
    if (--this.#attempts === 0) this.#waitedMs += performance.now() - this.#askedAt
  }

  /** Milliseconds in which at least one provider was waited for, until now. */
  get waitedMs(): number {
    return this.#waitedMs + (this.#attempts > 0 ? performance.now() - this.#askedAt : 0)
  }
}

/** The requests that are not over: as many as the gateway itself holds. What comes after the end of one (in the background) finds none. */
export class OpenRequests {
  readonly #open = new Map<string, OpenRequest>()
  /** Those of them whose answer is an event stream that has begun. */
  streams = 0

  get size(): number {
    return this.#open.size
  }

  begin(requestId: string): void {
    this.#open.set(requestId, new OpenRequest())
  }

  get(requestId: string): OpenRequest | undefined {
    return this.#open.get(requestId)
  }

  stream(requestId: string): void {
    const request = this.#open.get(requestId)
    if (!request || request.isStream) return
    request.isStream = true
    this.streams++
  }

  end(requestId: string): OpenRequest | undefined {
    const request = this.#open.get(requestId)
    if (!request) return undefined
    this.#open.delete(requestId)
    if (request.isStream) this.streams--
    return request
  }
}
