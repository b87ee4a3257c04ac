import { AgentLoop } from '../agent/agent-loop.ts'
import { allowedModels, mayUse } from '../auth/auth-plugin.ts'
import type { ServerEntry } from '../router/model-router.ts'
import { assertMayUse } from './access.ts'
import type { Endpoint } from './context.ts'

/** `GET /v1/models`: the models that the caller may use. */
export const listModels: Endpoint = (exchange, { router }) => {
  const allowed = allowedModels(exchange.principal)
  const entries = router.list()
  const data = entries.filter(({ model }) => mayUse(allowed, model)).map((entry) => describe(entry.model, entry))
  // A key for `openai/x` may see that one of `openai/*`, though not the wildcard.
  const listed = new Set(entries.map(({ model }) => model))
  for (const id of allowed ?? []) {
    const entry = listed.has(id) || id.endsWith('*') ? undefined : router.find(id)?.entry
    if (entry) data.push(describe(id, entry))
  }
  return exchange.json(200, { object: 'list', data })
}

/** `GET /v1/models/{id}`. A wildcard answers for every id that it serves. */
export const retrieveModel: Endpoint = (exchange, { router }) => {
  const entry = router.get(exchange.parameter) ?? router.resolve(exchange.parameter).entry
  assertMayUse(exchange.principal, exchange.parameter)
  return exchange.json(200, describe(exchange.parameter, entry))
}

function describe(id: string, entry: ServerEntry): object {
  const capabilities = { ...agentCapabilities(entry), ...entry.capabilities }
  return {
    id,
    object: 'model',
    created: entry.created ?? 0,
    owned_by: entry.client.provider,
    ...(Object.keys(capabilities).length > 0 ? { capabilities } : {}),
  }
}

function agentCapabilities({ client, internalTools, allowExternalTools = true }: ServerEntry): object {
  if (client instanceof AgentLoop)
    return { agent: true, external_tools: allowExternalTools && client.allowExternalTools }
  return internalTools?.length ? { agent: true, external_tools: allowExternalTools } : {}
}
