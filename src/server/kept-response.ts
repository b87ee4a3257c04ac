import { bounded } from '../agent/bounded.ts'
import { heartbeatMs, type ResponseRecord } from '../responses/response-records.ts'
import type { ResponseEvent } from '../responses/response-types.ts'
import { withSource } from '../source.ts'
import type { ServerContext } from './context.ts'
import { GatewayError } from './errors.ts'
import { eventsKey } from './events-key.ts'
import type { Exchange } from './exchange.ts'

export interface KeptResponseOptions {
  id: string
  /** False to keep nothing: then every method does nothing. */
  isStored: boolean
  /** Hears that somebody else has ended the response, or deleted it. */
  onSuperseded(reason: GatewayError): void
}

/**
 * A response in the store while this process makes it: its record, its events, its signs of life, and who may end it. What is paid
 * for is delivered even if it cannot be kept; the exchange is warned.
 */
export class KeptResponse {
  readonly #options: KeptResponseOptions
  readonly #exchange: Exchange
  readonly #context: ServerContext
  readonly #key: string
  #heartbeat: ReturnType<typeof setInterval> | undefined
  #isLogged = false
  /** The store was lost when it mattered: nothing more is kept. */
  #isUnkept = false
  /** It is this process that ends the response: nobody else may any more. */
  #ends = false
  #isSuperseded = false

  constructor(options: KeptResponseOptions, exchange: Exchange, context: ServerContext) {
    this.#options = options
    this.#exchange = exchange
    this.#context = context
    this.#key = eventsKey(exchange.userId, options.id)
  }

  /** Events are kept: it can be followed. */
  get isLogged(): boolean {
    return this.#isLogged
  }

  /** Somebody else has ended this response, or deleted it: nothing more of it may be kept. */
  get isSuperseded(): boolean {
    return this.#isSuperseded
  }

  /** A sign of life. @throws GatewayError `store_unavailable` */
  async beat(): Promise<void> {
    const { isStored, id } = this.#options
    if (isStored) await this.#context.responses.beat(this.#exchange.userId, id)
  }

  /** Stores the response as it begins, so that it can be asked for. @throws GatewayError `store_unavailable` */
  async begin(record: ResponseRecord): Promise<void> {
    if (!this.#options.isStored) return
    await Promise.all([this.beat(), this.#context.responses.save(this.#exchange.userId, record)])
    this.#isLogged = true
  }

  /** Gives signs of life, and looks whether it is still wanted, until {@link stop}. */
  live(): void {
    if (!this.#options.isStored) return
    this.#heartbeat = setInterval(() => void this.#look(), heartbeatMs)
    this.#heartbeat.unref()
  }

  stop(): void {
    clearInterval(this.#heartbeat)
  }

  /** Stores the response as it is. */
  async save(record: ResponseRecord): Promise<void> {
    if (!this.#options.isStored || this.#isUnkept) return
    const { responses } = this.#context
    const { userId } = this.#exchange
    const saving = this.#ends ? responses.saveEnd(userId, record) : responses.save(userId, record)
    await saving.catch((error: unknown) => this.#exchange.warn(notStored, error))
  }

  /**
   * Keeps events, before anybody sees them. `end`: no other follows.
   *
   * @throws GatewayError `response_interrupted` when somebody else has ended the response
   */
  async keep(events: ResponseEvent[], end = false): Promise<ResponseEvent[]> {
    const [first] = events
    if (!first || !this.#isLogged) return events
    // Written once, for the log and for the client.
    for (const event of events) withSource(event, JSON.stringify(event))
    const { eventLog, loaderTimeoutMs } = this.#context
    try {
      const append = () => eventLog.append(this.#key, first.sequence_number, events, { end })
      const isKept = await bounded(loaderTimeoutMs, append)
      if (!isKept && !this.#ends && (await this.#isClaimed())) this.#isSuperseded = true
      else if (!isKept) this.#stopLogging(undefined)
    } catch (error) {
      this.#stopLogging(error)
    }
    if (this.#isSuperseded) throw superseded()
    return events
  }

  /** @throws GatewayError `response_interrupted` when somebody else has ended the response, or is about to */
  async claimEnd(): Promise<void> {
    const { isStored, id } = this.#options
    if (!isStored || this.#ends) return
    try {
      this.#ends = await this.#context.responses.claimEnd(this.#exchange.userId, id)
    } catch (error) {
      // Whoever else ends it meanwhile is not to be overwritten.
      this.#isLogged = false
      this.#isUnkept = true
      this.#exchange.warn(notStored, error)
      return
    }
    if (this.#ends) return
    this.#isSuperseded = true
    throw superseded()
  }

  /** An event left out would be a gap: none comes after it. */
  #stopLogging(cause: unknown): void {
    this.#isLogged = false
    this.#exchange.warn('the events of this response could not be kept: it cannot be resumed', cause)
  }

  async #look(): Promise<void> {
    try {
      if (this.#ends) return
      if (!(await this.#isClaimed())) await this.beat()
      else if (!this.#ends) {
        this.#isSuperseded = true
        this.#options.onSuperseded(superseded())
      }
    } catch {
      // The store may be back before this response is taken for dead.
    }
  }

  #isClaimed(): Promise<boolean> {
    return this.#context.responses.isClaimed(this.#exchange.userId, this.#options.id)
  }
}

export const notStored = 'the response could not be stored: it cannot be retrieved or continued'

const superseded = (): GatewayError =>
  new GatewayError('response_interrupted', 'this response was ended or deleted by another request')
