import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import { statusOf } from './controllers.ts'
import type { KubernetesObject } from './kinds.ts'

export interface Change {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: KubernetesObject
}

const keyOf = ({ apiVersion, kind, metadata }: KubernetesObject): string =>
  [apiVersion, kind, metadata.namespace ?? '', metadata.name].join(' ')

/** What the cluster keeps: each object by kind, namespace and name, and news of its changes. */
export class Objects {
  readonly changes = new EventEmitter<{ change: [Change] }>().setMaxListeners(0)
  readonly #objects = new Map<string, KubernetesObject>()
  readonly #runs: (object: KubernetesObject) => boolean
  #version = 0

  /** @param runs says whether the pods of an object become ready. */
  constructor(runs: (object: KubernetesObject) => boolean) {
    this.#runs = runs
  }

  get version(): string {
    return String(this.#version)
  }

  all(): KubernetesObject[] {
    return [...this.#objects.values()]
  }

  find(apiVersion: string, kind: string, namespace: string | undefined, name: string): KubernetesObject | undefined {
    return this.#objects.get([apiVersion, kind, namespace ?? '', name].join(' '))
  }

  /** Puts it in the place of what was there; without a change nothing happens, as in a cluster. */
  put(object: KubernetesObject): KubernetesObject {
    const key = keyOf(object)
    const old = this.#objects.get(key)
    if (old && isDeepStrictEqual(essence(old), essence(object))) return old
    const generation = (old?.metadata.generation ?? 0) + (old && isDeepStrictEqual(old.spec, object.spec) ? 0 : 1)
    const uid = old?.metadata.uid ?? randomUUID()
    this.#version++
    const kept: KubernetesObject = {
      ...object,
      metadata: { ...object.metadata, uid, generation, resourceVersion: this.version },
    }
    const status = statusOf(kept, this.#runs(kept))
    if (status) kept.status = status
    this.#objects.set(key, kept)
    this.changes.emit('change', { type: old ? 'MODIFIED' : 'ADDED', object: kept })
    return kept
  }

  remove(object: KubernetesObject): void {
    this.#objects.delete(keyOf(object))
    this.#version++
    this.changes.emit('change', { type: 'DELETED', object })
  }
}

/** Without what the cluster itself writes. */
export function essence({ status: _, ...object }: KubernetesObject): KubernetesObject {
  const { uid: _uid, generation: _generation, resourceVersion: _version, ...metadata } = object.metadata
  return { ...object, metadata }
}
