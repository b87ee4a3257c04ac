import { Type } from 'typebox'
import {
  Affinity,
  Anything,
  image,
  ObjectName,
  PodSecurityContext,
  Resources,
  SecurityContext,
  StringMap,
  Tolerations,
  Values,
} from './kubernetes-shapes.ts'

/** `helm/charts/redis/values.yaml`, and what Helm adds to the values of a chart that is part of another. */
export const RedisValues = Values({
  enabled: Type.Boolean(),
  image: Values(image),
  auth: Values({ existingSecret: ObjectName, key: Type.String({ minLength: 1 }) }),
  persistence: Values({
    enabled: Type.Boolean(),
    size: Type.String({ pattern: '^\\d+(\\.\\d+)?([kMGTPE]|[KMGTPE]i)?$' }),
    storageClass: ObjectName,
  }),
  maxmemory: Type.String({ pattern: '^\\d+([kKmMgG][bB]?)?$' }),
  resources: Resources,
  networkPolicy: Values({ enabled: Type.Boolean() }),
  podSecurityContext: PodSecurityContext,
  securityContext: SecurityContext,
  nodeSelector: StringMap,
  tolerations: Tolerations,
  affinity: Affinity,
  global: Anything,
})
