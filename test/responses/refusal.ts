import { GatewayError } from '../../src/server/errors.ts'

/** The error that a call is refused with; undefined when it is not. */
export function refusal(call: () => unknown): GatewayError | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}
