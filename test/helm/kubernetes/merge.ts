import { isDeepStrictEqual } from 'node:util'
import type { Json } from './kinds.ts'

/** Lists whose elements Kubernetes merges, each known by some of its fields. All others are replaced. */
const listKeys: Record<string, readonly string[]> = {
  containers: ['name'],
  initContainers: ['name'],
  volumes: ['name'],
  env: ['name'],
  imagePullSecrets: ['name'],
  volumeMounts: ['mountPath'],
  topologySpreadConstraints: ['topologyKey', 'whenUnsatisfiable'],
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

const isObjects = (value: unknown): value is Json[] => Array.isArray(value) && value.every(isObject)

/** A JSON merge patch (RFC 7396): null removes. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const merged: Json = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else merged[key] = mergePatch(merged[key], value)
  }
  return merged
}

/**
 * Server-side apply of one owner: what it sets is set, what it has set before and does not name any more goes, and what
 * others have set stays. There are no conflicts: the last one wins, as with `--force-conflicts`.
 */
export function apply(live: unknown, before: unknown, next: unknown, name = ''): unknown {
  const keys = listKeys[name]
  if (keys && isObjects(live) && isObjects(next)) return applyList(live, isObjects(before) ? before : [], next, keys)
  if (!isObject(next) || !isObject(live)) return next
  const owned = isObject(before) ? before : {}
  const applied: Json = { ...live }
  for (const key of Object.keys(owned)) {
    if (key in next || !(key in applied)) continue
    // Of an object that others have added to, only the own part goes.
    const rest = isObject(owned[key]) ? apply(applied[key], owned[key], {}, key) : undefined
    if (isObject(rest) && Object.keys(rest).length > 0) applied[key] = rest
    else delete applied[key]
  }
  for (const [key, value] of Object.entries(next)) {
    applied[key] = key in applied ? apply(applied[key], owned[key], value, key) : value
  }
  return applied
}

function applyList(live: Json[], before: Json[], next: Json[], keys: readonly string[]): Json[] {
  const id = (element: Json): unknown[] => keys.map((key) => element[key])
  const among = (list: Json[], element: Json): Json | undefined =>
    list.find((one) => isDeepStrictEqual(id(one), id(element)))
  const others = live.filter((one) => !among(next, one) && !among(before, one))
  return [...next.map((one) => apply(among(live, one) ?? {}, among(before, one), one) as Json), ...others]
}
