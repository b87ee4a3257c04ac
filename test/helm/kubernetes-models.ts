import type { Manifest } from './rendered.ts'

/** Where the types and checks of an object's API are, by its `apiVersion`. */
const modules: Readonly<Record<string, string>> = {
  v1: 'kubernetes-models/v1',
  'apps/v1': 'kubernetes-models/apps/v1',
  'autoscaling/v2': 'kubernetes-models/autoscaling/v2',
  'networking.k8s.io/v1': 'kubernetes-models/networking.k8s.io/v1',
  'policy/v1': 'kubernetes-models/policy/v1',
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  'keda.sh/v1alpha1': '@kubernetes-models/keda/keda.sh/v1alpha1',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1',
  'external-secrets.io/v1': '@kubernetes-models/external-secrets/external-secrets.io/v1',
}

interface Model {
  /** Throws what is wrong. */
  validate(): void
}

type ModelClass = new (manifest: Manifest) => Model

function moduleOf({ apiVersion, kind }: Manifest): string {
  const directory = modules[apiVersion]
  if (directory === undefined) throw new Error(`${apiVersion} ${kind}: not known`)
  return `${directory}/${kind}`
}

/** Checks required fields, types and patterns; of unknown fields it says nothing. */
export async function validate(manifest: Manifest): Promise<void> {
  const { [manifest.kind]: model }: Record<string, ModelClass> = await import(moduleOf(manifest))
  if (!model) throw new Error(`${manifest.apiVersion} has no ${manifest.kind}`)
  new model(manifest).validate()
}

/** A module that has each manifest as a literal of its type, so that the compiler finds the fields that it doesn't have. */
export function typedSource(manifests: readonly Manifest[]): string {
  const imports = new Set(manifests.map((each) => `import type { I${each.kind} } from '${moduleOf(each)}'`))
  const literals = manifests.map(
    (each, index) => `export const m${index}: I${each.kind} = ${JSON.stringify(each, undefined, 2)}`,
  )
  return [...imports, ...literals, ''].join('\n')
}
