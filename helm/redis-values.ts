import { Type } from 'typebox'

/** `redis:`, the values of `helm/charts/redis`. */
export const RedisValues = Type.Object({ enabled: Type.Optional(Type.Boolean()) })
