import type { Target } from './types.ts'

/** Whom a client asks; one for every model, the model that is asked for. */
export const targetOf = ({ provider, model }: Target, asked: { model: string }): Target => ({
  provider,
  model: model === '*' ? asked.model : model,
})

/** `provider/model`, as configurations, logs and metrics have it. */
export const nameOf = ({ provider, model }: Target): string => `${provider}/${model}`
