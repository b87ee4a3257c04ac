import { GatewayError } from '../server/errors.ts'
import { nameOf } from '../target.ts'
import type { Target as NamedTarget } from '../types.ts'
import { type AdminOperation, operation } from './operation.ts'
import { Target, TargetList, TargetParams } from './schemas.ts'
import type { TargetStates } from './target-states.ts'

/** The operations on targets. */
export const targetOperations = (states: TargetStates): AdminOperation[] => [
  operation({
    method: 'GET',
    path: '/targets',
    action: 'targets.list',
    tag: 'targets',
    summary: 'List the targets',
    description: 'Those of the configuration, and what else was taken out.',
    response: TargetList,
    async answer() {
      await states.refresh()
      const names = new Set([...states.targets.map(nameOf), ...Object.keys(states.drained)])
      return { object: 'list', data: [...names].map((name) => shown(states, targetNamed(name))) }
    },
  }),
  operation({
    method: 'POST',
    path: '/targets/:provider/:model/drain',
    action: 'targets.drain',
    tag: 'targets',
    summary: 'Take a target out',
    description:
      'Every replica follows within 2 seconds. What has begun ends there; a model whose only target is out answers 503 `target_drained`, one whose several targets are all out 503 `no_target_available`.',
    params: TargetParams,
    response: Target,
    async answer({ params, admin, concerns }) {
      concerns(nameOf(params))
      assertKnown(states, params)
      await states.drain(nameOf(params), admin)
      return shown(states, params)
    },
  }),
  operation({
    method: 'POST',
    path: '/targets/:provider/:model/undrain',
    action: 'targets.undrain',
    tag: 'targets',
    summary: 'Take a target in again',
    params: TargetParams,
    response: Target,
    async answer({ params, concerns }) {
      concerns(nameOf(params))
      // One that the configuration does not have any more can be taken in, too.
      if (!Object.hasOwn(states.drained, nameOf(params))) assertKnown(states, params)
      await states.undrain(nameOf(params))
      return shown(states, params)
    },
  }),
]

function targetNamed(name: string): NamedTarget {
  const slash = name.indexOf('/')
  return { provider: name.slice(0, slash), model: name.slice(slash + 1) }
}

function assertKnown(states: TargetStates, target: NamedTarget): void {
  if (states.has(target)) return
  throw new GatewayError('not_found', `there is no target "${nameOf(target).slice(0, 200)}"`)
}

function shown(states: TargetStates, target: NamedTarget) {
  const { drained } = states
  const entry = drained[nameOf(target)] ?? drained[`${target.provider}/*`]
  return {
    id: nameOf(target),
    object: 'target',
    provider: target.provider,
    model: target.model,
    drained: states.isDrained(target),
    drained_at: entry ? Math.floor(entry.at / 1000) : null,
    drained_by: entry?.by ?? null,
  }
}
