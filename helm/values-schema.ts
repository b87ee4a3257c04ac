import { Type } from 'typebox'
import { ConfigSchema } from '../src/config/schema.ts'
import { isObject } from '../src/json.ts'
import { configValues, definitions } from './config-values.ts'
import {
  Affinity,
  Amount,
  Anything,
  EgressRules,
  Env,
  EnvFrom,
  GoDuration,
  Host,
  IngressRules,
  image,
  LabelValue,
  Name,
  Named,
  ObjectName,
  Peers,
  Percent,
  PodSecurityContext,
  Port,
  Probe,
  PrometheusDuration,
  PullPolicy,
  ReadinessProbe,
  Relabelings,
  Resources,
  ScalingBehavior,
  SecurityContext,
  Strategy,
  StringMap,
  Tolerations,
  TopologySpread,
  Values,
  VolumeMounts,
} from './kubernetes-shapes.ts'
import { RedisValues } from './redis-values.ts'
import { type DocumentedValue, documentedValues } from './values-comments.ts'

const closed = { additionalProperties: false }
const atLeastOne = Type.Integer({ minimum: 1 })
const Target = Type.Union([atLeastOne, Type.Null()])
const TargetPercent = Type.Union([Percent, Type.Null()])
const Url = Type.String({ pattern: '^(https?://.+)?$' })
const ExternalData = Values({ data: Type.Array(Anything), dataFrom: Type.Array(Anything) })
const ToPorts = Values({ to: Peers, ports: Type.Array(Port) })

const Scrape = Values({
  enabled: Type.Boolean(),
  labels: StringMap,
  interval: PrometheusDuration,
  scrapeTimeout: PrometheusDuration,
  metricRelabelings: Relabelings,
})

/** `helm/values.yaml`, key by key, without what is said there: descriptions and defaults are taken from it. */
export const ChartValues = Values({
  environment: LabelValue,
  production: Type.Boolean(),
  secrets: Values({
    env: Values({ existingSecret: ObjectName }),
    clientKeys: Values({ existingSecret: ObjectName }),
  }),
  externalSecrets: Values({
    enabled: Type.Boolean(),
    secretStoreRef: Values({ name: ObjectName, kind: Type.Enum(['ClusterSecretStore', 'SecretStore']) }),
    refreshInterval: GoDuration,
    env: ExternalData,
    clientKeys: ExternalData,
  }),
  replicaCount: Type.Integer({ minimum: 0 }),
  image: Values(image),
  nameOverride: Name,
  fullnameOverride: Name,
  commonLabels: Type.Record(Type.String(), LabelValue),
  commonAnnotations: StringMap,
  resources: Resources,
  serviceAccount: Values({ create: Type.Boolean(), name: ObjectName, annotations: StringMap }),
  service: Values({
    type: Type.Enum(['ClusterIP', 'NodePort', 'LoadBalancer']),
    port: Port,
    annotations: StringMap,
  }),
  ports: Values({ http: Port, metrics: Port, admin: Port }),
  ingress: Values({
    enabled: Type.Boolean(),
    className: ObjectName,
    annotations: StringMap,
    hosts: Type.Array(
      Type.Object(
        {
          host: Host,
          paths: Type.Optional(
            Type.Array(
              Type.Object(
                {
                  path: Type.String({ pattern: '^/' }),
                  pathType: Type.Optional(Type.Enum(['Prefix', 'Exact', 'ImplementationSpecific'])),
                },
                closed,
              ),
            ),
          ),
        },
        closed,
      ),
    ),
    tls: Type.Array(Values({ hosts: Type.Array(Host), secretName: ObjectName })),
  }),
  httpRoute: Values({
    enabled: Type.Boolean(),
    annotations: StringMap,
    parentRefs: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1 }),
          namespace: Type.Optional(Type.String({ minLength: 1 })),
          sectionName: Type.Optional(Type.String({ minLength: 1 })),
          port: Type.Optional(Port),
          group: Type.Optional(Type.String()),
          kind: Type.Optional(Type.String({ minLength: 1 })),
        },
        closed,
      ),
    ),
    hostnames: Type.Array(Host),
    matches: Type.Array(
      Values({
        path: Values({
          type: Type.Enum(['Exact', 'PathPrefix', 'RegularExpression']),
          value: Type.String({ minLength: 1 }),
        }),
        headers: Type.Array(Anything),
        queryParams: Type.Array(Anything),
        method: Type.String(),
      }),
    ),
    timeouts: Values({ request: GoDuration, backendRequest: GoDuration }),
  }),
  autoscaling: Values({
    enabled: Type.Boolean(),
    minReplicas: atLeastOne,
    maxReplicas: atLeastOne,
    targetCPUUtilizationPercentage: TargetPercent,
    targetInFlightRequests: Target,
    targetOpenStreams: Target,
    behavior: ScalingBehavior,
  }),
  keda: Values({
    enabled: Type.Boolean(),
    minReplicas: Type.Integer({ minimum: 0 }),
    maxReplicas: atLeastOne,
    pollingInterval: atLeastOne,
    prometheusAddress: Url,
    targetInFlightRequests: Target,
    targetOpenStreams: Target,
    targetCPUUtilizationPercentage: TargetPercent,
    triggers: Type.Array(
      Type.Object(
        {
          type: Type.String({ minLength: 1 }),
          metadata: StringMap,
          name: Type.Optional(Type.String()),
          metricType: Type.Optional(Type.Enum(['AverageValue', 'Value', 'Utilization'])),
          useCachedMetrics: Type.Optional(Type.Boolean()),
          authenticationRef: Type.Optional(Anything),
        },
        closed,
      ),
    ),
    fallback: Type.Union([
      Values({
        failureThreshold: atLeastOne,
        replicas: Type.Integer({ minimum: 0 }),
        behavior: Type.Enum(['static', 'currentReplicas', 'currentReplicasIfHigher', 'currentReplicasIfLower']),
      }),
      Type.Null(),
    ]),
  }),
  podDisruptionBudget: Values({ enabled: Type.Boolean(), maxUnavailable: Amount }),
  networkPolicy: Values({
    enabled: Type.Boolean(),
    clients: Peers,
    prometheus: Peers,
    admin: Peers,
    // None would be all, of what is link-local too: the metadata of a cloud.
    dns: Values({ to: Peers, ports: Type.Array(Port, { minItems: 1 }) }),
    providers: ToPorts,
    redis: ToPorts,
    collector: ToPorts,
    extraEgress: EgressRules,
    extraIngress: IngressRules,
  }),
  serviceMonitor: Scrape,
  podMonitor: Scrape,
  prometheusRule: Values({ enabled: Type.Boolean(), labels: StringMap, runbookBase: Url }),
  dashboards: Values({
    enabled: Type.Boolean(),
    labels: Type.Record(Type.String(), LabelValue),
    annotations: StringMap,
  }),
  extensions: Values({
    module: Type.String({ minLength: 1 }),
    files: Type.Record(Type.String({ pattern: '^[-._a-zA-Z0-9]+$' }), Type.String(), closed),
    existingConfigMap: ObjectName,
    image: Values({ reference: Type.String(), pullPolicy: PullPolicy }),
    auth: Type.Boolean(),
  }),
  preStopSeconds: Type.Integer({ minimum: 0 }),
  probes: Values({ startup: Probe, liveness: Probe, readiness: ReadinessProbe }),
  strategy: Strategy,
  revisionHistoryLimit: Type.Integer({ minimum: 0 }),
  podSecurityContext: PodSecurityContext,
  securityContext: SecurityContext,
  topologySpreadConstraints: TopologySpread,
  affinity: Affinity,
  nodeSelector: StringMap,
  tolerations: Tolerations,
  priorityClassName: ObjectName,
  podLabels: Type.Record(Type.String(), LabelValue),
  podAnnotations: StringMap,
  extraEnv: Env,
  extraEnvFrom: EnvFrom,
  extraVolumes: Named,
  extraVolumeMounts: VolumeMounts,
  extraContainers: Named,
  initContainers: Named,
  tests: Values({
    model: Type.String(),
    clientKey: Values({ existingSecret: ObjectName, key: Type.String() }),
  }),
  /** For the `condition` of a chart that this one is a part of. */
  enabled: Type.Boolean(),
  global: Anything,
})

/** Draft 7, which each version of Helm 3 and 4 knows. */
const $schema = 'http://json-schema.org/draft-07/schema#'

const values = documentedValues(new URL('values.yaml', import.meta.url))
const redis = documentedValues(new URL('charts/redis/values.yaml', import.meta.url))

const describedRedis = described(RedisValues, redis)

/** `helm/charts/redis/values.schema.json`. */
export const redisSchema = { $schema, title: "Values of the chart of Signalbox's own Redis", ...describedRedis }

/** `helm/values.schema.json`. */
export const valuesSchema = {
  $schema,
  title: 'Values of the chart of Signalbox',
  ...described(
    {
      ...ChartValues,
      properties: { ...ChartValues.properties, config: configValues(ConfigSchema), redis: describedRedis },
    },
    values,
  ),
  definitions,
}

interface DescribedSchema {
  properties?: Record<string, unknown>
  [keyword: string]: unknown
}

/** With what the values file says of each key, and what is there by default. */
function described(schema: unknown, documented: readonly DocumentedValue[]): DescribedSchema {
  if (!isObject(schema)) throw new TypeError('no schema')
  const { properties } = schema
  if (!isObject(properties)) return schema
  const withComments = Object.entries(properties).map(([name, property]) => {
    const inside = documented.filter(({ path }) => path[0] === name)
    const here = inside.find(({ path }) => path.length === 1)
    const below = inside.filter(({ path }) => path.length > 1).map((value) => ({ ...value, path: value.path.slice(1) }))
    const description = here?.description ?? here?.remark
    return [
      name,
      {
        ...(description === undefined ? {} : { description }),
        ...described(property, below),
        ...(here?.description === undefined ? {} : { default: here.value }),
      },
    ]
  })
  return { ...schema, properties: Object.fromEntries(withComments) }
}
