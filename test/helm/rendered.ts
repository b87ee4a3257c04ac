import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments, stringify } from 'yaml'
import { chart, type HelmResult, helm } from './helm.ts'

/** The oldest Kubernetes that the chart is for, and a current one. */
export const kubeVersions = ['1.30.0', '1.35.0'] as const

/** Of `helm/environments`. */
export const environments = ['dev', 'staging', 'prod'] as const

export type Environment = (typeof environments)[number]

/** What the user of `prod.yaml` adds: the names of their Secrets, providers, hosts. */
const prodNeeds = fileURLToPath(new URL('./prod-needs.yaml', import.meta.url))

/** The values of an environment as it ships: a file. */
export const environmentFile = (environment: Environment): string => join(chart, 'environments', `${environment}.yaml`)

/** The files of values with which an environment renders: its own, and what its user adds. */
export const valuesFor = (environment: Environment): string[] => [
  environmentFile(environment),
  ...(environment === 'prod' ? [prodNeeds] : []),
]

export interface Manifest {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
  }
  [field: string]: unknown
}

export interface RenderOptions {
  /** Files of values, the last of which wins. */
  values?: readonly string[]
  /** Values over those of the files. */
  set?: Record<string, unknown> | undefined
  /** Default: the newest of `kubeVersions`. */
  kubeVersion?: string
  /** Of the release. Default `signalbox`. */
  name?: string
  /** Default `llm`. */
  namespace?: string
}

const valueOptions = ({ values = [], namespace = 'llm' }: RenderOptions, file: string): string[] => [
  ...['--namespace', namespace],
  ...[...values, file].flatMap((each) => ['--values', each]),
]

const options = (given: RenderOptions, file: string): string[] => [
  ...['--kube-version', given.kubeVersion ?? '1.35.0'],
  ...valueOptions(given, file),
]

/** Runs Helm with a file of the values that are `set`. */
function withValues({ set = {} }: RenderOptions, run: (file: string) => HelmResult): HelmResult {
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-values-'))
  try {
    const file = join(directory, 'values.yaml')
    // Helm reads YAML 1.1, in which `no` is no text.
    writeFileSync(file, stringify(set, { version: '1.1' }))
    return run(file)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** What `helm template` says, whether it succeeds or not. */
export const template = (given: RenderOptions = {}): HelmResult =>
  withValues(given, (file) => helm(['template', given.name ?? 'signalbox', chart, ...options(given, file)]))

/** What `helm lint --strict` says. */
export const lint = (given: RenderOptions = {}): HelmResult =>
  withValues(given, (file) => helm(['lint', '--strict', chart, ...options(given, file)]))

/** What `helm install` says at its end. No cluster is asked, nor its version. */
export function notes(given: RenderOptions = {}): string {
  const { status, stdout, stderr } = withValues(given, (file) =>
    helm(['install', given.name ?? 'signalbox', chart, '--dry-run=client', ...valueOptions(given, file)]),
  )
  if (status !== 0) throw new Error(stderr)
  return stdout.slice(stdout.indexOf('\nNOTES:\n'))
}

/** The objects that Helm makes of the chart, the tests included. Throws what Helm says when it refuses. */
export function rendered(given: RenderOptions = {}): Manifest[] {
  const { status, stdout, stderr } = template(given)
  if (status !== 0) throw new Error(stderr)
  return parseAllDocuments(stdout).flatMap((document): Manifest[] => {
    const [problem] = document.errors
    if (problem) throw problem
    const manifest: Manifest | null = document.toJS()
    return manifest ? [manifest] : []
  })
}

/** The one object of a kind, or the one that is called so. Throws when there is none, or more. */
export function only(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = manifests.filter((each) => each.kind === kind && (name === undefined || each.metadata.name === name))
  const [one] = found
  if (!one || found.length > 1) throw new Error(`${found.length} of ${kind} ${name ?? ''}`)
  return one
}
