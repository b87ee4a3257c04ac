import type { LLMClient } from '../types.ts'
import { type PlanTarget, plan } from './plan.ts'

export type WeightedTarget = Omit<PlanTarget, 'priority'>

/** A {@link plan} in which only weights are said. One target is the client itself. */
export function weighted(targets: readonly WeightedTarget[]): LLMClient {
  const [only] = targets
  return only && targets.length === 1 ? only.client : plan({ targets })
}
