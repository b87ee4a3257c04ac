import type { IIngress } from 'kubernetes-models/networking.k8s.io/v1/Ingress'
import type { IService } from 'kubernetes-models/v1/Service'
import { containersOf, type Pod, podsIn } from './pods.ts'
import type { Manifest } from './rendered.ts'

/** What an object says by name of another one. */
export interface Reference {
  from: string
  kind: string
  name: string
}

/** The ConfigMaps, Secrets, accounts and claims that pods name. */
export function* namedByPods(manifests: readonly Manifest[]): Generator<Reference> {
  for (const pod of podsIn(manifests)) {
    for (const [kind, name] of namedBy(pod))
      if (name !== undefined) yield { from: `${pod.kind} ${pod.name}`, kind, name }
  }
}

function* namedBy(pod: Pod): Generator<[kind: string, name: string | undefined]> {
  const { serviceAccountName, imagePullSecrets = [], volumes = [] } = pod.spec
  yield ['ServiceAccount', serviceAccountName]
  for (const { name } of imagePullSecrets) yield ['Secret', name]
  for (const { configMap, secret, persistentVolumeClaim } of volumes) {
    yield ['ConfigMap', configMap?.name]
    yield ['Secret', secret?.secretName]
    yield ['PersistentVolumeClaim', persistentVolumeClaim?.claimName]
  }
  for (const { env = [], envFrom = [] } of containersOf(pod)) {
    for (const { secretRef, configMapRef } of envFrom) {
      yield ['Secret', secretRef?.name]
      yield ['ConfigMap', configMapRef?.name]
    }
    for (const { valueFrom } of env) {
      yield ['Secret', valueFrom?.secretKeyRef?.name]
      yield ['ConfigMap', valueFrom?.configMapKeyRef?.name]
    }
  }
}

/** What exists once the objects do. */
export function* existing(manifests: readonly Manifest[]): Generator<Pick<Reference, 'kind' | 'name'>> {
  for (const { kind, metadata, spec } of manifests) {
    yield { kind, name: metadata.name }
    const { target } = Object(spec) as { target?: { name: string } }
    if (kind === 'ExternalSecret' && target) yield { kind: 'Secret', name: target.name }
  }
}

/** The Services, and their ports, that routes lead to. */
export function* routed(manifests: readonly Manifest[]): Generator<{ from: string; name: string; port: unknown }> {
  for (const manifest of manifests) {
    const { kind, metadata, spec } = manifest
    if (kind === 'Ingress') {
      for (const { http } of (manifest as unknown as IIngress).spec?.rules ?? []) {
        for (const { backend } of http?.paths ?? []) {
          const { name = '', port } = backend.service ?? {}
          yield { from: `Ingress ${metadata.name}`, name, port: port?.name ?? port?.number }
        }
      }
    }
    if (kind === 'HTTPRoute') {
      const { rules } = spec as { rules: { backendRefs: { name: string; port: number }[] }[] }
      for (const { name, port } of rules.flatMap((rule) => rule.backendRefs)) {
        yield { from: `HTTPRoute ${metadata.name}`, name, port }
      }
    }
  }
}

export const services = (manifests: readonly Manifest[]): IService[] =>
  manifests.filter(({ kind }) => kind === 'Service').map((manifest) => manifest as unknown as IService)
