import { allowedModels, mayUse } from '../auth/auth-plugin.ts'
import type { ServerEntry } from '../router/model-router.ts'
import { assertMayUse } from './access.ts'
import type { Endpoint } from './context.ts'

/** `GET /v1/models`: the models that the caller may use. */
export const listModels: Endpoint = (exchange, { router }) => {
  const allowed = allowedModels(exchange.principal)
  const entries = router.list()
  const data = entries.filter(({ model }) => mayUse(allowed, model)).map((entry) => describe(entry.model, { entry }))
  // A key for `openai/x` may see that one of `openai/*`, though not the wildcard.
  const listed = new Set(entries.map(({ model }) => model))
  for (const id of allowed ?? []) {
    const route = listed.has(id) || id.endsWith('*') ? undefined : router.find(id)
    if (route) data.push(describe(id, route))
  }
  return exchange.json(200, { object: 'list', data })
}

/** `GET /v1/models/{id}`. A wildcard answers for every id that it serves. */
export const retrieveModel: Endpoint = (exchange, { router }) => {
  const { parameter: id, principal } = exchange
  const entry = router.get(id)
  const served = entry ? { entry } : router.resolve(id)
  assertMayUse(principal, id)
  return exchange.json(200, describe(id, served))
}

/** `model`: what a wildcard has matched. */
function describe(id: string, { entry, model = id }: { entry: ServerEntry; model?: string }): object {
  const window = model.endsWith('*') ? undefined : entry.contextWindow?.(model)
  const known = window === undefined ? {} : { context_window: window }
  const capabilities = { ...agentCapabilities(entry), ...known, ...entry.capabilities }
  return {
    id,
    object: 'model',
    created: entry.created ?? 0,
    owned_by: entry.client.provider,
    ...(Object.keys(capabilities).length > 0 ? { capabilities } : {}),
  }
}

function agentCapabilities({ client, internalTools, allowExternalTools = true }: ServerEntry): object {
  const { agent } = client
  if (!agent && !internalTools?.length) return {}
  return { agent: true, external_tools: allowExternalTools && (agent?.allowExternalTools ?? true) }
}
