import { GatewayError } from '../server/errors.ts'
import { withoutArguments } from './redis-error.ts'

/** The store did not do what it was asked, or did not say so in time: 503 `store_unavailable`, to be tried again. */
export class StoreUnavailable extends GatewayError {
  /** `cause` is for logs. What a command was about, a text of a user's or a password, is left out of it. */
  constructor(cause: unknown) {
    super('store_unavailable', 'the store cannot be reached', { cause: withoutArguments(cause), retryAfter: 1 })
    this.name = 'StoreUnavailable'
  }
}
