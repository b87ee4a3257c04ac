import type { EmbeddingModelV4, LanguageModelV4 } from '@ai-sdk/provider'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { SDKPackage } from './providers.ts'

/** What every package of the AI SDK takes. */
export interface SDKSettings {
  apiKey?: string
  baseURL?: string
  headers: Readonly<Record<string, string>>
}

/** What the gateway uses of a provider of the AI SDK. */
export interface SDKProvider {
  languageModel(model: string): LanguageModelV4
  embeddingModel(model: string): EmbeddingModelV4
}

export type SDKFactory = (settings: SDKSettings & { fetch: typeof fetch }) => SDKProvider

/** @throws Error that names the package to install. */
export function assertInstalled(provider: string, { name }: SDKPackage): void {
  try {
    import.meta.resolve(name)
  } catch {
    throw new Error(`provider "${provider}" needs the package ${name}: install it with npm install ${name}`)
  }
}

/** Loads the package. */
export async function loadFactory({ name, factory }: SDKPackage): Promise<SDKFactory> {
  const module: unknown = await import(name).catch((cause: unknown) => {
    throw unusable(name, cause)
  })
  const make = isObject(module) ? module[factory] : undefined
  if (typeof make !== 'function') throw unusable(name, new Error(`${name} does not export ${factory}`))
  return (settings) => {
    const provider: SDKProvider = make(settings)
    return {
      languageModel: (model) => ofThisMajor(name, provider.languageModel(model)),
      embeddingModel: (model) => ofThisMajor(name, provider.embeddingModel(model)),
    }
  }
}

/** Packages of an older major of the AI SDK speak another interface, and would fail in stranger ways. */
function ofThisMajor<Model extends { specificationVersion: string }>(name: string, model: Model): Model {
  if (model.specificationVersion === 'v4') return model
  throw unusable(name, new Error(`${name} is of another major of the AI SDK: ${model.specificationVersion}, not v4`))
}

const unusable = (name: string, cause: unknown): GatewayError =>
  new GatewayError('internal_error', `the gateway cannot use its package ${name}`, {
    cause,
    headers: { 'x-should-retry': 'false' },
  })
