import { selects } from './connection.ts'
import { type Manifest, only } from './rendered.ts'

interface Selector {
  matchLabels: Record<string, string>
}

interface Endpoint {
  port: string
  path: string
  interval: string
  scrapeTimeout: string
  honorLabels: boolean
  relabelings: Record<string, unknown>[]
  metricRelabelings?: Record<string, unknown>[]
}

interface MonitorSpec {
  selector: Selector
  namespaceSelector: { matchNames: string[] }
  endpoints?: Endpoint[]
  podMetricsEndpoints?: Endpoint[]
}

interface ServiceSpec {
  selector: Record<string, string>
  ports: { name: string; targetPort: number | string }[]
}

interface PodTemplate {
  template: {
    metadata: { labels: Record<string, string> }
    spec: { containers: { ports: { name: string; containerPort: number }[] }[] }
  }
}

/** What a ServiceMonitor or PodMonitor finds among what was rendered with it. */
export interface Monitored {
  endpoint: Endpoint
  /** The names of the Services, or pods, that it selects. */
  selected: string[]
  /** The port of the container that is scraped; undefined when the port that it names is nowhere. */
  port: number | undefined
}

export function monitored(manifests: readonly Manifest[], kind: 'ServiceMonitor' | 'PodMonitor'): Monitored {
  const { selector, namespaceSelector, endpoints, podMetricsEndpoints } = only(manifests, kind).spec as MonitorSpec
  const [endpoint, ...more] = endpoints ?? podMetricsEndpoints ?? []
  if (!endpoint || more.length > 0) throw new Error(`${more.length} more endpoints`)
  const isFound = (namespace: string | undefined, labels: Record<string, string> | undefined): boolean =>
    namespaceSelector.matchNames.includes(namespace ?? '') && selects(selector, labels)

  const deployment = only(manifests, 'Deployment')
  const { template } = deployment.spec as PodTemplate
  const portOf = (name: number | string | undefined): number | undefined =>
    template.spec.containers.flatMap(({ ports }) => ports).find((port) => port.name === name)?.containerPort

  if (kind === 'PodMonitor') {
    const isSelected = isFound(deployment.metadata.namespace, template.metadata.labels)
    return { endpoint, selected: isSelected ? [deployment.metadata.name] : [], port: portOf(endpoint.port) }
  }
  const services = manifests.filter((each) => each.kind === 'Service')
  const found = services.filter(({ metadata }) => isFound(metadata.namespace, metadata.labels))
  const ports = found.flatMap(({ spec }) => {
    const { selector, ports } = spec as ServiceSpec
    return selects({ matchLabels: selector }, template.metadata.labels) ? ports : []
  })
  const behind = ports.find(({ name }) => name === endpoint.port)?.targetPort
  return { endpoint, selected: found.map(({ metadata }) => metadata.name), port: portOf(behind) }
}

/** `targetLabel` is `target_label` to Prometheus. */
const relabeling = (rule: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(rule).map(([key, value]) => [key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )

/** What Kubernetes tells Prometheus of a pod, and the labels that the operator makes of it before the monitor's own are set. */
const discovered = ['namespace', 'pod', 'container', 'service']

/** The part of `scrape_configs` that the Prometheus Operator makes of an endpoint. The labels of its targets are {@link metaLabels}. */
export function scrapeConfig({ path, honorLabels, relabelings, metricRelabelings = [] }: Endpoint) {
  const ofOperator = discovered.map((label) => ({ source_labels: [`__meta_${label}`], target_label: label }))
  return {
    metrics_path: path,
    honor_labels: honorLabels,
    relabel_configs: [...ofOperator, ...relabelings.map(relabeling)],
    metric_relabel_configs: metricRelabelings.map(relabeling),
  }
}

/** What a target is known as. */
export const metaLabels = (values: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([label, value]) => [`__meta_${label}`, value]))
