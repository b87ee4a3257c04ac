import type { Config } from './schema.ts'

/** What types cannot say of agents. */
export function* impossibleAgents(
  { agents = {}, models = {}, providers = {}, extensions }: Partial<Config>,
  illFormed: ReadonlySet<string>,
): Generator<string> {
  const hasModels = !illFormed.has('models')
  const hasExtension = extensions !== undefined || illFormed.has('extensions')
  // The demo model answers where no provider is configured.
  const served = [...Object.keys(models), ...(Object.keys(providers).length === 0 ? ['demo/echo'] : [])]
  const isServed = (model: string): boolean =>
    served.some((id) =>
      id.endsWith('*') ? model.length >= id.length && model.startsWith(id.slice(0, -1)) : model === id,
    )
  for (const [id, { model, system, systemFile, tools, guardrails }] of Object.entries(agents)) {
    const path = `agents.${id}`
    if (served.includes(id)) yield `${path}: there is a model of that name`
    if (id.endsWith('*')) yield `${path}: an agent's name must not end in "*"`
    if (model.endsWith('*')) yield `${path}.model: must be one model, not a wildcard`
    const [, provider = ''] = /^([^/]+)\/./.exec(model) ?? []
    if (hasModels && !isServed(model) && !Object.hasOwn(providers, provider)) {
      yield `${path}.model: "${model}" is none of the models, nor is its provider configured`
    }
    if (system !== undefined && systemFile !== undefined) yield `${path}: give either system or systemFile`
    if (!hasExtension && (tools?.length || guardrails?.length)) {
      yield `${path}: its tools and guardrails come from a module; name it in extensions`
    }
  }
}
