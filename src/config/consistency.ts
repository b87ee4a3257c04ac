import type { Environment } from '../env.ts'
import { resolveLLM } from '../llm/create-llm.ts'
import type { Config } from './schema.ts'

/** What types cannot say of the sections that are well formed; an ill-formed one is undefined. */
export function* inconsistencies({ server, auth, providers, models }: Partial<Config>): Generator<string> {
  if (server?.cors.credentials && server.cors.origins.includes('*')) {
    yield 'server.cors.credentials: browsers refuse it together with the origin "*"; list the origins'
  }
  for (const [index, { key, sha256 }] of (auth?.keys ?? []).entries()) {
    if ((key === undefined) === (sha256 === undefined)) yield `auth.keys.${index}: give either key or sha256`
  }
  if (!providers) return
  const known = Object.keys(providers)
  for (const name of known) {
    if (name.includes('/')) yield `providers.${name}: a provider's name must not contain "/"`
  }
  for (const [id, { targets }] of Object.entries(models ?? {})) {
    for (const [index, { model }] of targets.entries()) {
      const path = `models.${id}.targets.${index}.model`
      const provider = model.slice(0, model.indexOf('/'))
      if (!known.includes(provider)) {
        yield `${path}: provider "${provider}" is not configured; configured are: ${known.join(', ') || 'none'}`
      }
      if (model.endsWith('/*') !== id.endsWith('*')) {
        yield `${path}: "${model}" and "${id}" must both be wildcards or neither`
      }
    }
    if (targets.every(({ weight }) => weight === 0)) yield `models.${id}.targets: at least one weight must be above 0`
  }
}

/** Providers that cannot be called: without a key, without an address, of an unknown kind. */
export function* unusableProviders(providers: Config['providers'] = {}, env: Environment): Generator<string> {
  for (const [name, { timeouts: _timeouts, ...provider }] of Object.entries(providers)) {
    try {
      resolveLLM({ model: `${name}/*`, ...provider }, env)
    } catch (error) {
      yield `providers.${name}: ${error instanceof Error ? error.message : String(error)}`
    }
  }
}
