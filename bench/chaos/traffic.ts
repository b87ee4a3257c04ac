import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI, { APIConnectionError, APIError, APIUserAbortError } from 'openai'
import type { Account } from './account.ts'
import type { Random } from './random.ts'

/** Longer than any answer may take here: a client that waits until then has been forgotten. */
const patienceMs = 60_000

/** The turns of one conversation that its client was told are done. */
export interface Conversation {
  id: string
  acknowledged: string[]
}

export interface TrafficOptions {
  baseURL: string
  apiKey: string
  account: Account
  random: Random
  signal: AbortSignal
}

/** One client: whole answers, streams, turns of a conversation of its own, and some that leave half-way. */
export class Client {
  readonly conversation: Conversation
  readonly #openai: OpenAI
  readonly #options: TrafficOptions
  #turn = 0

  constructor(name: string, options: TrafficOptions) {
    this.#options = options
    this.conversation = { id: `chaos-${name}`, acknowledged: [] }
    // Each request shows what the gateway says, and not what a retry makes of it.
    this.#openai = new OpenAI({
      baseURL: options.baseURL,
      apiKey: options.apiKey,
      maxRetries: 0,
      timeout: patienceMs,
    })
  }

  async run(): Promise<void> {
    const { random, signal } = this.#options
    while (!signal.aborted) {
      await random.pick([
        [30, () => this.#whole()],
        [30, () => this.#streamed()],
        [15, () => this.#leaving()],
        [25, () => this.#takeTurn()],
      ])()
      await sleep(random.between(0, 30))
    }
  }

  #whole(): Promise<void> {
    return this.#account(async () => {
      const { data, request_id } = await this.#openai.chat.completions
        .create({ model: 'chaos', messages: [{ role: 'user', content: 'a whole answer' }] })
        .withResponse()
      if (!data.choices[0]?.finish_reason) throw new Error('an answer without an end')
      return request_id
    })
  }

  #streamed(): Promise<void> {
    return this.#account(async () => {
      const { data, request_id } = await this.#openai.chat.completions
        .create({ model: 'chaos', stream: true, messages: [{ role: 'user', content: 'a stream' }] })
        .withResponse()
      let finish: string | null | undefined
      for await (const chunk of data) finish = chunk.choices[0]?.finish_reason ?? finish
      if (!finish) throw new Error('a stream that looks whole and is not')
      return request_id
    })
  }

  #leaving(): Promise<void> {
    const controller = new AbortController()
    return this.#account(async () => {
      setTimeout(() => controller.abort(), this.#options.random.between(0, 60)).unref()
      const { data, request_id } = await this.#openai.chat.completions
        .create(
          { model: 'chaos', stream: true, messages: [{ role: 'user', content: 'never mind' }] },
          { signal: controller.signal },
        )
        .withResponse()
      for await (const _chunk of data);
      if (controller.signal.aborted) throw new APIUserAbortError()
      return request_id
    })
  }

  #takeTurn(): Promise<void> {
    return this.#account(async () => {
      const text = `turn ${this.#turn++}`
      const headers = { 'x-conversation-id': this.conversation.id }
      const { request_id, response } = await this.#openai.chat.completions
        .create({ model: 'chaos', messages: [{ role: 'user', content: text }] }, { headers })
        .withResponse()
      // A paid answer whose turn could not be saved is delivered, and says so.
      if (!response.headers.has('x-signalbox-warning')) this.conversation.acknowledged.push(text)
      return request_id
    })
  }

  async #account(ask: () => Promise<string | null>): Promise<void> {
    const { account } = this.#options
    account.sent++
    try {
      account.end('answered', undefined, await ask())
    } catch (error) {
      if (error instanceof APIUserAbortError) account.end('left')
      else if (error instanceof APIConnectionError) account.end('lost', `${error.message}: ${String(error.cause)}`)
      else if (error instanceof APIError && error.status !== undefined)
        account.end('refused', `${error.status} ${error.code}`, error.requestID)
      else if (error instanceof APIError) account.end('broken', String(error.code))
      else account.end('lost', String(error))
    }
  }
}
