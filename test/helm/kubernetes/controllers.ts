import type { Json, KubernetesObject } from './kinds.ts'

const condition = (type: string, status: boolean, reason: string): Json => ({
  type,
  status: status ? 'True' : 'False',
  reason,
})

/** What the controllers of a cluster would say of an object, at once: that it runs, or that it never will. */
export function statusOf({ kind, metadata, spec }: KubernetesObject, runs: boolean): Json | undefined {
  const replicas = (spec as { replicas?: number } | undefined)?.replicas ?? 1
  const ready = runs ? replicas : 0
  const counts = {
    observedGeneration: metadata.generation,
    ...{ replicas, updatedReplicas: replicas, readyReplicas: ready, availableReplicas: ready },
  }
  if (kind === 'Deployment') {
    return {
      ...counts,
      unavailableReplicas: replicas - ready,
      conditions: [
        condition('Available', runs, runs ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable'),
        condition('Progressing', runs, runs ? 'NewReplicaSetAvailable' : 'ProgressDeadlineExceeded'),
      ],
    }
  }
  if (kind === 'StatefulSet') {
    return {
      ...counts,
      currentReplicas: ready,
      currentRevision: `${metadata.name}-1`,
      updateRevision: `${metadata.name}-1`,
    }
  }
  if (kind === 'Pod') return { phase: runs ? 'Succeeded' : 'Failed' }
  if (kind === 'Job') return { succeeded: ready, conditions: [condition(runs ? 'Complete' : 'Failed', true, 'Done')] }
  return undefined
}
