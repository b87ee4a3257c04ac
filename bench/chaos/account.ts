/** How a request ended, as its client sees it. */
export type Ending =
  /** Whole, with a status of 200. */
  | 'answered'
  /** With an error in OpenAI's envelope, and a status that says which. */
  | 'refused'
  /** A stream that said by an error event that it is not whole. */
  | 'broken'
  /** The client went away, as it meant to. */
  | 'left'
  /** Anything else: no answer, half an answer that looks whole, a connection that broke. There must be none. */
  | 'lost'

/** What was sent and what became of it. */
export class Account {
  sent = 0
  readonly ends: Record<Ending, number> = { answered: 0, refused: 0, broken: 0, left: 0, lost: 0 }
  /** Of refused and broken requests, by status or code. */
  readonly reasons: Record<string, number> = {}
  /** What the gateway calls the requests that it answered in any way. */
  readonly ids: string[] = []
  /** What became of the lost ones. */
  readonly losses: string[] = []

  end(ending: Ending, reason?: string, requestId?: string | null): void {
    this.ends[ending]++
    if (requestId) this.ids.push(requestId)
    if (reason === undefined) return
    if (ending === 'lost') this.losses.push(reason)
    else this.reasons[reason] = (this.reasons[reason] ?? 0) + 1
  }

  /** Every request that was sent has ended in exactly one way. */
  get isBalanced(): boolean {
    return this.sent === Object.values(this.ends).reduce((sum, count) => sum + count, 0)
  }
}
