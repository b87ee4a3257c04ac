import { type AuthVerifyResult, allowedModels, mayUse } from '../auth/auth-plugin.ts'
import { GatewayError } from './errors.ts'

/** @throws GatewayError `model_not_allowed` */
export function assertMayUse(principal: AuthVerifyResult | null, model: string): void {
  if (mayUse(allowedModels(principal), model)) return
  throw new GatewayError('model_not_allowed', `this API key may not use the model "${model}"`, { param: 'model' })
}
