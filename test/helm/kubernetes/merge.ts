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

/** `ports` is such a list of a container and of a Service, but not of a NetworkPolicy. */
function keysOf(name: string, [first]: readonly unknown[]): readonly string[] | undefined {
  if (name !== 'ports' || !isObject(first)) return listKeys[name]
  if ('containerPort' in first) return ['containerPort', 'protocol']
  return 'targetPort' in first ? ['port', 'protocol'] : undefined
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

/** Paths of merged lists in which two elements are known by the same fields: they cannot be applied. */
export function duplicatesOf(value: unknown, path = ''): string[] {
  if (isObject(value)) return Object.entries(value).flatMap(([key, each]) => duplicatesOf(each, `${path}.${key}`))
  if (!isObjects(value)) return []
  const inside = value.flatMap((each) => duplicatesOf(each, `${path}[]`))
  const keys = keysOf(path.slice(path.lastIndexOf('.') + 1), value)
  return keys && value.some((each) => among(value, each, keys) !== each) ? [path, ...inside] : inside
}

/** Paths of what an owner is about to set to something else than another has set since. */
export function conflictsOf(live: unknown, before: unknown, next: unknown, path = ''): string[] {
  const keys = isObjects(next) && keysOf(path.slice(path.lastIndexOf('.') + 1), next)
  if (keys && isObjects(live)) {
    const owned = isObjects(before) ? before : []
    return next.flatMap((one) => {
      const there = among(live, one, keys)
      return there ? conflictsOf(there, among(owned, one, keys), one, `${path}[]`) : []
    })
  }
  if (isObject(live) && isObject(next)) {
    const owned = isObject(before) ? before : {}
    return Object.keys(next)
      .filter((key) => key in live)
      .flatMap((key) => conflictsOf(live[key], owned[key], next[key], `${path}.${key}`))
  }
  return isDeepStrictEqual(live, next) || isDeepStrictEqual(live, before) ? [] : [path]
}

/**
 * Server-side apply of one owner: what it sets is set; what it has set before and does not name any more goes, unless
 * another has changed it since; and what others have set stays.
 */
export function apply(live: unknown, before: unknown, next: unknown, name = ''): unknown {
  const keys = isObjects(next) && keysOf(name, next)
  if (keys && isObjects(live)) return applyList(live, isObjects(before) ? before : [], next, keys)
  if (!isObject(next) || !isObject(live)) return next
  const owned = isObject(before) ? before : {}
  const applied: Json = { ...live }
  for (const key of Object.keys(owned).filter((each) => each in live && !(each in next))) {
    const rest = withoutOwn(live[key], owned[key], key)
    if (rest === undefined) delete applied[key]
    else applied[key] = rest
  }
  for (const [key, value] of Object.entries(next)) {
    applied[key] = key in applied ? apply(applied[key], owned[key], value, key) : value
  }
  return applied
}

/** What others have made of a field that its owner gives up; undefined for nothing. */
function withoutOwn(live: unknown, own: unknown, name: string): unknown {
  if (isDeepStrictEqual(live, own)) return undefined
  const keys = isObjects(own) && keysOf(name, own)
  if (keys && isObjects(live)) return applyList(live, own, [], keys)
  return isObject(live) && isObject(own) ? apply(live, own, {}) : live
}

function applyList(live: Json[], before: Json[], next: Json[], keys: readonly string[]): Json[] {
  const others = live.filter((one) => !among(next, one, keys) && !among(before, one, keys))
  const applied = next.map((one) => apply(among(live, one, keys) ?? {}, among(before, one, keys), one) as Json)
  return [...applied, ...others]
}

/** The element of a list that is known by the same fields. */
const among = (list: Json[], element: Json, keys: readonly string[]): Json | undefined =>
  list.find((one) => keys.every((key) => isDeepStrictEqual(one[key], element[key])))
