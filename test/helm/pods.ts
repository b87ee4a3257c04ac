import type { IPodSpec } from 'kubernetes-models/v1/PodSpec'
import { isObject } from '../../src/json.ts'
import type { Manifest } from './rendered.ts'

export interface Pod {
  /** Kind and name of what makes it, or its own. */
  of: string
  labels: Record<string, string>
  spec: IPodSpec
}

export type Container = IPodSpec['containers'][number]

/** The pods that the objects are, or make. */
export const podsOf = (manifests: readonly Manifest[]): Pod[] =>
  manifests.flatMap((manifest) => {
    const { kind, metadata, spec } = manifest
    const pod = kind === 'Pod' ? manifest : isObject(spec) && isObject(spec.template) ? spec.template : undefined
    if (!pod) return []
    const { labels = {} } = (pod.metadata ?? {}) as { labels?: Record<string, string> }
    return [{ of: `${kind} ${metadata.name}`, labels, spec: pod.spec as IPodSpec }]
  })

/** All containers of a pod, with those that come first. */
export const containersOf = ({ spec }: Pod): Container[] => [...(spec.initContainers ?? []), ...spec.containers]
