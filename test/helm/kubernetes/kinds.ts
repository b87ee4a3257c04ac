/** A JSON object, which is all that is known of most of what Kubernetes keeps. */
export type Json = Record<string, unknown>

export interface KubernetesObject extends Json {
  apiVersion: string
  kind: string
  metadata: Metadata
}

export interface Metadata extends Json {
  name: string
  namespace?: string
  uid?: string
  /** Counts the changes of all that is not `metadata` or `status`. */
  generation?: number
  resourceVersion?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

/** What discovery says of a kind. */
export interface Kind {
  /** `v1`, `apps/v1`… */
  apiVersion: string
  kind: string
  /** As in paths. */
  plural: string
  namespaced: boolean
}

const clusterWide = new Set(['Namespace', 'CustomResourceDefinition'])

const kindsOf = (apiVersion: string, plurals: Record<string, string>): Kind[] =>
  Object.entries(plurals).map(([kind, plural]) => ({ apiVersion, kind, plural, namespaced: !clusterWide.has(kind) }))

/** What every cluster has, as far as the chart uses it or Helm asks for it. */
export const coreKinds: readonly Kind[] = [
  ...kindsOf('v1', {
    Namespace: 'namespaces',
    ConfigMap: 'configmaps',
    Secret: 'secrets',
    Service: 'services',
    ServiceAccount: 'serviceaccounts',
    Pod: 'pods',
    PersistentVolumeClaim: 'persistentvolumeclaims',
  }),
  ...kindsOf('apps/v1', { Deployment: 'deployments', ReplicaSet: 'replicasets', StatefulSet: 'statefulsets' }),
  ...kindsOf('apiextensions.k8s.io/v1', { CustomResourceDefinition: 'customresourcedefinitions' }),
  ...kindsOf('batch/v1', { Job: 'jobs' }),
  ...kindsOf('networking.k8s.io/v1', { Ingress: 'ingresses', NetworkPolicy: 'networkpolicies' }),
  ...kindsOf('policy/v1', { PodDisruptionBudget: 'poddisruptionbudgets' }),
  ...kindsOf('autoscaling/v2', { HorizontalPodAutoscaler: 'horizontalpodautoscalers' }),
]

/** What custom resource definitions add: the operators that the chart can make use of. */
export const operatorKinds: readonly Kind[] = [
  ...kindsOf('monitoring.coreos.com/v1', {
    ServiceMonitor: 'servicemonitors',
    PodMonitor: 'podmonitors',
    PrometheusRule: 'prometheusrules',
  }),
  ...kindsOf('keda.sh/v1alpha1', { ScaledObject: 'scaledobjects', TriggerAuthentication: 'triggerauthentications' }),
  ...kindsOf('gateway.networking.k8s.io/v1', { HTTPRoute: 'httproutes' }),
  ...kindsOf('external-secrets.io/v1', { ExternalSecret: 'externalsecrets' }),
]
