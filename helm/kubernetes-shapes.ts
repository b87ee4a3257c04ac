import { type TProperties, Type } from 'typebox'

/** Kubernetes' own objects as far as a mistake is worth telling before the API server does; it knows all of them. */
const closed = { additionalProperties: false }

/** An object whose keys are all known, and none of them needed. */
export const Values = <Properties extends TProperties>(properties: Properties) =>
  Type.Partial(Type.Object(properties), closed)

/** An object that is passed on as it is. */
export const Anything = Type.Object({})

export const StringMap = Type.Record(Type.String(), Type.String())
export const Port = Type.Integer({ minimum: 1, maximum: 65_535 })
export const Percent = Type.Integer({ minimum: 1, maximum: 100 })
export const Seconds = Type.Integer({ minimum: 1 })

/** `30s`, `1m30s`, as Prometheus has it. */
export const PrometheusDuration = Type.String({
  pattern: '^(0|(\\d+y)?(\\d+w)?(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?)$',
})

/** `0s`, `1h30m`, as Go and the Gateway API have it. */
export const GoDuration = Type.String({ pattern: '^(\\d{1,5}(h|m|s|ms)){1,4}$' })

/** At most 63 of `[a-z0-9-]`, or nothing. */
export const Name = Type.String({ maxLength: 63, pattern: '^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$' })

/** The name of an object that is not a label: dots, too, or nothing. */
export const ObjectName = Type.String({ maxLength: 253, pattern: '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$' })

/** A host as an Ingress has it: no scheme, no port; the first part may be `*`. */
export const Host = Type.String({
  maxLength: 253,
  pattern: '^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
})

export const LabelValue = Type.String({ maxLength: 63, pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$' })

export const PullPolicy = Type.Enum(['Always', 'IfNotPresent', 'Never'])

const Quantity = Type.Union([
  Type.Number({ minimum: 0 }),
  Type.String({ pattern: '^\\d+(\\.\\d+)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?\\d+)?$' }),
])
const Quantities = Type.Record(Type.String(), Quantity)

export const Resources = Values({ requests: Quantities, limits: Quantities, claims: Type.Array(Anything) })

export const Amount = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ pattern: '^\\d+%$' })])

/** A list of objects that have names of their own: containers, volumes, secrets. */
export const Named = Type.Array(Type.Object({ name: Type.String({ minLength: 1 }) }))

const Selector = Values({ matchLabels: StringMap, matchExpressions: Type.Array(Anything) })

export const Env = Type.Array(
  Type.Object(
    {
      name: Type.String({ minLength: 1 }),
      value: Type.Optional(Type.String()),
      valueFrom: Type.Optional(Anything),
    },
    closed,
  ),
)

export const EnvFrom = Type.Array(Values({ prefix: Type.String(), configMapRef: Anything, secretRef: Anything }))

export const VolumeMounts = Type.Array(
  Type.Object({ name: Type.String({ minLength: 1 }), mountPath: Type.String({ minLength: 1 }) }),
)

const probe = {
  initialDelaySeconds: Type.Integer({ minimum: 0 }),
  periodSeconds: Seconds,
  timeoutSeconds: Seconds,
  failureThreshold: Seconds,
}

/** Of a start or of life: one success is enough, and Kubernetes takes no other number. */
export const Probe = Values(probe)
export const ReadinessProbe = Values({ ...probe, successThreshold: Seconds })

export const Strategy = Values({
  type: Type.Enum(['RollingUpdate', 'Recreate']),
  rollingUpdate: Values({ maxSurge: Amount, maxUnavailable: Amount }),
})

const security = {
  runAsNonRoot: Type.Boolean(),
  runAsUser: Type.Integer({ minimum: 0 }),
  runAsGroup: Type.Integer({ minimum: 0 }),
  seccompProfile: Anything,
  appArmorProfile: Anything,
  seLinuxOptions: Anything,
  windowsOptions: Anything,
}

export const PodSecurityContext = Values({
  ...security,
  fsGroup: Type.Integer({ minimum: 0 }),
  fsGroupChangePolicy: Type.Enum(['OnRootMismatch', 'Always']),
  supplementalGroups: Type.Array(Type.Integer({ minimum: 0 })),
  supplementalGroupsPolicy: Type.Enum(['Merge', 'Strict']),
  seLinuxChangePolicy: Type.String(),
  sysctls: Type.Array(Anything),
})

export const SecurityContext = Values({
  ...security,
  allowPrivilegeEscalation: Type.Boolean(),
  privileged: Type.Boolean(),
  readOnlyRootFilesystem: Type.Boolean(),
  procMount: Type.String(),
  capabilities: Values({ add: Type.Array(Type.String()), drop: Type.Array(Type.String()) }),
})

export const Affinity = Values({ nodeAffinity: Anything, podAffinity: Anything, podAntiAffinity: Anything })

export const Tolerations = Type.Array(
  Values({
    key: Type.String(),
    operator: Type.String(),
    value: Type.String(),
    effect: Type.Enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
    tolerationSeconds: Type.Integer(),
  }),
)

export const TopologySpread = Type.Array(
  Type.Object(
    {
      maxSkew: Type.Integer({ minimum: 1 }),
      topologyKey: Type.String({ minLength: 1 }),
      whenUnsatisfiable: Type.Enum(['DoNotSchedule', 'ScheduleAnyway']),
      labelSelector: Type.Optional(Selector),
      matchLabelKeys: Type.Optional(Type.Array(Type.String())),
      minDomains: Type.Optional(Type.Integer({ minimum: 1 })),
      nodeAffinityPolicy: Type.Optional(Type.Enum(['Honor', 'Ignore'])),
      nodeTaintsPolicy: Type.Optional(Type.Enum(['Honor', 'Ignore'])),
    },
    closed,
  ),
)

/** Of a NetworkPolicy: what may call, or be called. */
export const Peers = Type.Array(
  Values({
    podSelector: Selector,
    namespaceSelector: Selector,
    ipBlock: Type.Object(
      { cidr: Type.String({ minLength: 1 }), except: Type.Optional(Type.Array(Type.String())) },
      closed,
    ),
  }),
)

const PolicyPorts = Type.Array(
  Values({
    protocol: Type.Enum(['TCP', 'UDP', 'SCTP']),
    port: Type.Union([Port, Type.String()]),
    endPort: Port,
  }),
)
export const EgressRules = Type.Array(Values({ to: Peers, ports: PolicyPorts }))
export const IngressRules = Type.Array(Values({ from: Peers, ports: PolicyPorts }))

const ScalingRules = Values({
  stabilizationWindowSeconds: Type.Integer({ minimum: 0, maximum: 3600 }),
  selectPolicy: Type.Enum(['Max', 'Min', 'Disabled']),
  tolerance: Quantity,
  policies: Type.Array(
    Type.Object(
      {
        type: Type.Enum(['Pods', 'Percent']),
        value: Type.Integer({ minimum: 1 }),
        periodSeconds: Type.Integer({ minimum: 1, maximum: 1800 }),
      },
      closed,
    ),
  ),
})
export const ScalingBehavior = Values({ scaleUp: ScalingRules, scaleDown: ScalingRules })

export const Relabelings = Type.Array(
  Values({
    sourceLabels: Type.Array(Type.String()),
    separator: Type.String(),
    targetLabel: Type.String(),
    regex: Type.String(),
    modulus: Type.Integer({ minimum: 0 }),
    replacement: Type.String(),
    action: Type.String(),
  }),
)

/** Where an image comes from. */
export const image = {
  repository: Type.String({ pattern: '^[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?$' }),
  tag: Type.String({ pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$' }),
  digest: Type.String({ pattern: '^(sha256:[0-9a-f]{64})?$' }),
  pullPolicy: PullPolicy,
  pullSecrets: Named,
}
