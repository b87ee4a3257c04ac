import type { Kind, KubernetesObject } from './kinds.ts'

/** What a path names: a kind, perhaps of one namespace, perhaps one object. */
export interface Target {
  kind: Kind
  namespace: string | undefined
  /** Of one object; undefined for all. */
  name: string | undefined
}

/** Whether a list or a watch is to show it: `a=b` of label selectors, and `metadata.name=` of field selectors. */
export function isSelected(
  object: KubernetesObject,
  { kind, namespace, name }: Target,
  { labelSelector, fieldSelector }: Record<string, string>,
): boolean {
  const { metadata } = object
  if (object.kind !== kind.kind || object.apiVersion !== kind.apiVersion) return false
  if (namespace !== undefined && metadata.namespace !== namespace) return false
  if (name !== undefined && metadata.name !== name) return false
  return (
    terms(labelSelector).every(([label = '', value]) => metadata.labels?.[label] === value) &&
    terms(fieldSelector).every(([field, value]) => field === 'metadata.name' && metadata.name === value)
  )
}

const terms = (selector = ''): string[][] =>
  selector
    .split(',')
    .filter(Boolean)
    .map((term) => term.split(/==?/))
