import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { stringify } from 'yaml'
import { FakeKubernetes, type FakeKubernetesOptions, type Owner } from './fake-kubernetes.ts'
import { chart, type HelmResult, helmMeanwhile } from './helm.ts'
import type { KubernetesObject } from './kubernetes/kinds.ts'
import { essence } from './kubernetes/objects.ts'
import type { RenderOptions } from './rendered.ts'

/** Of the release, unless it is another one `beside` it. */
export const name = 'signalbox'
export const namespace = 'llm'

/** What is in the namespace before the release, and is none of its business. */
export const neighbours: KubernetesObject[] = [
  {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'llm-providers', namespace },
    data: { OPENAI_API_KEY: 'c2s=' },
  },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other', namespace }, data: { key: 'value' } },
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'other', namespace, labels: { 'app.kubernetes.io/name': 'signalbox' } },
    spec: { replicas: 1 },
  },
]

/** A cluster with neighbours, and a release of the chart in it that Helm works on. */
export class Release {
  readonly cluster: FakeKubernetes
  readonly #name: string
  #files = 0

  private constructor(cluster: FakeKubernetes, called: string) {
    this.cluster = cluster
    this.#name = called
  }

  static async in(t: Owner, options?: FakeKubernetesOptions): Promise<Release> {
    const cluster = await FakeKubernetes.start(t, options)
    for (const neighbour of neighbours) cluster.objects.put(neighbour)
    return new Release(cluster, name)
  }

  /** Another one in the same namespace. */
  beside(called: string): Release {
    return new Release(this.cluster, called)
  }

  /** Runs a command of Helm on the release; what it says is in the error when it fails. */
  async helm(command: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.try(command, ...args)
    if (status !== 0) throw new Error(`helm ${command}: ${stderr}`)
    return stdout
  }

  try(command: string, ...args: string[]): Promise<HelmResult> {
    return helmMeanwhile([command, this.#name, ...args, '--namespace', namespace], this.cluster.env)
  }

  /** The arguments with which the chart is installed with these values. */
  chart({ values = [], set = {} }: RenderOptions = {}): string[] {
    const file = join(this.cluster.directory, `${this.#name}-${this.#files++}.yaml`)
    // As Helm reads it.
    writeFileSync(file, stringify(set, { version: '1.1' }))
    return [chart, ...[...values, file].flatMap((each) => ['--values', each])]
  }

  /** What the cluster keeps of the release, and of its neighbours; not Helm's records, nor what the cluster itself adds. */
  objects(): Map<string, KubernetesObject> {
    const entries = this.cluster.objects
      .all()
      .filter(({ type }) => type !== 'helm.sh/release.v1')
      .map((object) => [`${object.kind} ${object.metadata.name}`, essence(object)] as const)
    return new Map(entries)
  }

  /** Those that a command has added, changed or removed. */
  async changedBy(run: () => Promise<unknown>): Promise<string[]> {
    const before = this.objects()
    await run()
    const after = this.objects()
    return [...new Set([...before.keys(), ...after.keys()])]
      .filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)))
      .sort()
  }

  get deployment(): KubernetesObject {
    return this.cluster.get('Deployment', name, namespace)
  }

  /** What is mounted into the pods as their configuration. */
  get config(): string {
    const { data } = this.cluster.get('ConfigMap', name, namespace) as KubernetesObject & {
      data: Record<string, string>
    }
    return data['signalbox.yaml'] ?? ''
  }
}
