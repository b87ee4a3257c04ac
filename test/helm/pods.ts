import type { IContainer } from 'kubernetes-models/v1/Container'
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec'
import { isObject } from '../../src/json.ts'
import { type Manifest, only } from './rendered.ts'

/** A pod, or what pods are made of. */
export interface Pod {
  /** Of the object that it is, or that makes it. */
  kind: string
  name: string
  labels: Record<string, string>
  annotations: Record<string, string>
  spec: IPodSpec
}

const podOf = (
  { kind, metadata: { name } }: Manifest,
  template: Pick<Manifest, 'metadata'> & { spec?: unknown },
): Pod => {
  const { labels = {}, annotations = {} } = template.metadata
  return { kind, name, labels, annotations, spec: template.spec as IPodSpec }
}

/** All pods that come of the objects. */
export const podsIn = (manifests: readonly Manifest[]): Pod[] =>
  manifests.flatMap((manifest) => {
    if (manifest.kind === 'Pod') return [podOf(manifest, manifest)]
    const template = isObject(manifest.spec) ? manifest.spec.template : undefined
    return isObject(template) && isObject(template.spec) ? [podOf(manifest, template as never)] : []
  })

/** The gateway's pod. */
export function gatewayPod(manifests: readonly Manifest[]): Pod {
  const [pod] = podsIn([only(manifests, 'Deployment')])
  if (!pod) throw new Error('the Deployment makes no pods')
  return pod
}

/** The container of that name; the gateway's, when none is given. */
export function containerOf({ spec }: Pod, name = 'signalbox'): IContainer {
  const container = spec.containers.find((each) => each.name === name)
  if (!container) throw new Error(`there is no container ${name}`)
  return container
}

/** The ports of a container by their names. */
export const portsOf = ({ ports = [] }: IContainer): Record<string, number> =>
  Object.fromEntries(ports.map(({ name = '', containerPort }) => [name, containerPort]))

/** Whether a selector's labels are all among these. */
export const selects = (labels: Record<string, string>, selector: Record<string, string>): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value)
