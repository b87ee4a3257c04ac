import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IContainer } from 'kubernetes-models/v1/Container'
import type { Test } from 'tap'
import { isObject } from '../../src/json.ts'
import { Mounted } from '../mounted.ts'
import { type Exit, type Program, Program as Run, root as repository, runSignalbox } from '../process.ts'
import { containerOf, gatewayPod, type Pod, podsIn, portsOf } from './pods.ts'
import { type Manifest, only } from './rendered.ts'

/** The Secrets of the namespace, by their names. */
export type Secrets = Record<string, Record<string, string>>

export interface BootOptions {
  secrets?: Secrets
  /** What is elsewhere than in a cluster: text of the configuration and what is there instead. */
  elsewhere?: Record<string, string>
}

/** The gateway's pod of a release, without a container: a process with the container's variables and mounted files. */
export interface Booted {
  process: Program
  pod: Pod
  /** By the names of the container's ports: `http://127.0.0.1:PORT`. */
  urls: Record<string, string>
  /** Runs a pod of `helm test` in the same way. */
  test(name: string): Promise<Exit>
  /** Mounts the ConfigMap of other manifests, as the kubelet does after an upgrade. */
  remount(manifests: readonly Manifest[]): Promise<void>
}

/** Starts the pod's process, and waits until it listens. Render with free ports: those of the machine are others'. */
export async function boot(
  t: Test,
  manifests: readonly Manifest[],
  { secrets = {}, elsewhere = {} }: BootOptions = {},
): Promise<Booted> {
  const pod = gatewayPod(manifests)
  const container = containerOf(pod)
  const root = t.testdir({})
  const places = { ...elsewhere, ...placesOf(container, root) }
  const mounted = new Map<string, Mounted>()
  const mount = async (from: readonly Manifest[]): Promise<void> => {
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const directory = mounted.get(name) ?? new Mounted(movedIn(mountPath, places))
      mounted.set(name, directory)
      const files = filesOf(pod, name, from, secrets)
      const moved = Object.entries(files).map(([file, text]): [string, string] => [file, movedIn(text, places)])
      await directory.update(Object.fromEntries(moved))
    }
  }
  await mount(manifests)
  const variables = movedAll(variablesOf(container, secrets), places)
  const process = runSignalbox(t, { env: { ...variablesOfImage(), ...variables }, lifeMs: 60_000 })
  await process.says(/Signalbox is running at/)
  const urls = Object.fromEntries(
    Object.entries(portsOf(container)).map(([name, port]) => [name, `http://127.0.0.1:${port}`]),
  )
  return {
    process,
    pod,
    urls,
    remount: mount,
    async test(name) {
      const [test] = podsIn([only(manifests, 'Pod', name)])
      if (!test) throw new Error(`there is no pod ${name}`)
      const { command: [, ...args] = [], ...rest } = containerOf(test, 'test')
      const env = { ...variablesOf(rest, secrets), SIGNALBOX_URL: urls.http ?? '' }
      return new Run(t, globalThis.process.execPath, { args, env, lifeMs: 60_000 }).exited
    },
  }
}

/** The image's own, but for the path. */
function variablesOfImage(): Record<string, string> {
  const [, block = ''] = /^ENV ((?:.*\\\n)*.*)$/m.exec(readFileSync(join(repository, 'Dockerfile'), 'utf8')) ?? []
  const pairs = [...block.matchAll(/(\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value] as const)
  return Object.fromEntries(pairs.filter(([name]) => name !== 'PATH'))
}

/** Where on this machine a container's directories are. */
const placesOf = ({ volumeMounts = [] }: Omit<IContainer, 'name'>, root: string): Record<string, string> =>
  Object.fromEntries(volumeMounts.map(({ name, mountPath }) => [mountPath, join(root, name)]))

/** The longest first: the path of one directory may begin as another's does. */
const movedIn = (text: string, places: Record<string, string>): string =>
  Object.entries(places)
    .sort(([a], [b]) => b.length - a.length)
    .reduce((moved, [from, to]) => moved.replaceAll(from, to), text)

const movedAll = (texts: Record<string, string>, places: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, movedIn(text, places)]))

function filesOf(
  { spec }: Pod,
  name: string,
  manifests: readonly Manifest[],
  secrets: Secrets,
): Record<string, string> {
  const volume = spec.volumes?.find((each) => each.name === name)
  const { configMap, secret } = volume ?? {}
  const found = configMap ? only(manifests, 'ConfigMap', configMap.name).data : secrets[secret?.secretName ?? '']
  if (!isObject(found)) throw new Error(`the volume ${name} has nothing to mount`)
  return found as Record<string, string>
}

/** As the kubelet makes them. Throws for what would keep a container from starting. */
export function variablesOf({ env = [], envFrom = [] }: Partial<IContainer>, secrets: Secrets): Record<string, string> {
  const ofSecret = (name = '', key?: string): unknown => {
    const value = key === undefined ? secrets[name] : secrets[name]?.[key]
    if (value === undefined) throw new Error(`there is no Secret ${name} ${key ?? ''}`)
    return value
  }
  const variables: Record<string, string> = {}
  for (const { secretRef } of envFrom) Object.assign(variables, ofSecret(secretRef?.name))
  for (const { name, value = '', valueFrom } of env) {
    const { secretKeyRef, fieldRef } = valueFrom ?? {}
    const expanded = value.replace(/\$\((\w+)\)/g, (reference, other: string) => variables[other] ?? reference)
    if (secretKeyRef) variables[name] = String(ofSecret(secretKeyRef.name, secretKeyRef.key))
    else variables[name] = fieldRef ? `the-${fieldRef.fieldPath}` : expanded
  }
  return variables
}
