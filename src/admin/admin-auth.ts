import type { AuthPlugin } from '../auth/auth-plugin.ts'
import { BearerKeyAuth } from '../auth/bearer-key-auth.ts'
import type { AdminConfig } from '../config/admin-schema.ts'
import { GatewayError } from '../server/errors.ts'

/** Who may use the admin API: nobody but the keys of its own section. */
export class AdminAuth {
  readonly #keys: BearerKeyAuth
  readonly #clients: AuthPlugin | undefined

  /** `clients`: who knows the keys of clients, to tell one of them what it lacks. */
  constructor(keys: AdminConfig['keys'], clients?: AuthPlugin) {
    this.#keys = new BearerKeyAuth({ keys: keys.map(({ name, ...key }) => ({ ...key, user: name })) })
    this.#clients = clients
  }

  /**
   * The name of the key.
   *
   * @throws GatewayError `invalid_api_key`; `admin_key_required` for a client's
   */
  async nameOf(headers: Headers): Promise<string> {
    try {
      return this.#keys.verify(headers).userId
    } catch (cause) {
      if (await this.#isClient(headers)) {
        throw new GatewayError('admin_key_required', 'the admin API needs an admin key; this is the key of a client')
      }
      throw new GatewayError(
        'invalid_api_key',
        'incorrect or missing admin key; send one as the header Authorization: Bearer <key>',
        { headers: { 'www-authenticate': 'Bearer' }, cause },
      )
    }
  }

  async #isClient(headers: Headers): Promise<boolean> {
    try {
      return (await this.#clients?.verify(headers)) !== undefined
    } catch (error) {
      // Nobody can say whether it is good: not a 401.
      if (error instanceof GatewayError) throw error
      return false
    }
  }
}
