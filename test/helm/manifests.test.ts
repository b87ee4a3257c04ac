import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { isObject } from '../../src/json.ts'
import { Program, root } from '../process.ts'
import { cases } from './cases.ts'
import { chart } from './helm.ts'
import { typedSource, validate } from './kubernetes-models.ts'
import { containersOf, type Pod, podsIn, selects } from './pods.ts'
import { existing, namedByPods, routed, services } from './references.ts'
import { type Manifest, only, type RenderOptions, rendered } from './rendered.ts'

const namespace = 'llm'
const all = new Map([...cases].map(([name, options]) => [name, rendered({ ...options, namespace })]))

const called = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`
const of = ({ kind, name }: Pod): string => `${kind} ${name}`
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
const image =
  /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$/

t.test('between them, the cases have every kind that the chart knows', async (t) => {
  const kinds = new Set([...all.values()].flat().map(({ kind }) => kind))
  t.strictSame([...kinds].sort(), [
    'ConfigMap',
    'Deployment',
    'ExternalSecret',
    'HTTPRoute',
    'HorizontalPodAutoscaler',
    'Ingress',
    'NetworkPolicy',
    'Pod',
    'PodDisruptionBudget',
    'PodMonitor',
    'PrometheusRule',
    'ScaledObject',
    'Service',
    'ServiceAccount',
    'ServiceMonitor',
    'StatefulSet',
  ])
})

for (const [name, manifests] of all) {
  t.test(name, async (t) => {
    t.test('each object is one of its kind', async (t) => {
      for (const manifest of manifests) await t.resolves(validate(manifest), called(manifest))
    })

    t.test('each has a name of its own, in the namespace of the release', async (t) => {
      t.strictSame(manifests.map(called).toSorted(), [...new Set(manifests.map(called))].toSorted())
      for (const { kind, metadata } of manifests) {
        t.match(metadata.name, label, `${kind} ${metadata.name}`)
        t.equal(metadata.namespace, namespace, `${kind} ${metadata.name}`)
      }
    })

    t.test('labels and annotations are such', async (t) => {
      for (const manifest of manifests) checkMetadata(t, called(manifest), manifest)
    })

    t.test('nothing is null, nor empty without a meaning', async (t) => {
      const empty = manifests.flatMap((manifest) => [...emptyIn(manifest, called(manifest))])
      // `--save ""` is no snapshots; an API group that is empty is the core one; a variable is emptied, `HOST`.
      t.strictSame(
        empty.filter((path) => !/\.args\[\d+\]$|\.group$|\.env\[\d+\]\.value$/.test(path)),
        [],
      )
    })

    t.test('whatever a pod names exists, or is named by the values', async (t) => {
      const exists = new Set([...existing(manifests)].map((each) => `${each.kind} ${each.name}`))
      const given = textsIn(valuesOf(cases.get(name)))
      for (const reference of namedByPods(manifests)) {
        const known = exists.has(`${reference.kind} ${reference.name}`) || given.has(reference.name)
        t.ok(known, `${reference.from}: ${reference.kind} ${reference.name}`)
      }
    })

    t.test('each Service selects pods that have its ports', async (t) => {
      for (const { metadata, spec } of services(manifests)) {
        const pods = podsIn(manifests).filter((pod) => selects(pod.labels, spec?.selector ?? {}))
        t.equal(pods.length, 1, `${metadata?.name}`)
        const ports = pods.flatMap(containersOf).flatMap((container) => container.ports ?? [])
        for (const { targetPort } of spec?.ports ?? [])
          t.ok(
            ports.some((port) => port.name === targetPort),
            String(targetPort),
          )
      }
    })

    t.test('routes lead to ports of Services', async (t) => {
      for (const { from, name, port } of routed(manifests)) {
        const service = services(manifests).find((each) => each.metadata?.name === name)
        t.ok(
          service?.spec?.ports?.some((each) => each.name === port || each.port === port),
          `${from}: ${name} ${port}`,
        )
      }
    })

    t.test('images have a registry or a name, and a tag or a digest', async (t) => {
      for (const pod of podsIn(manifests)) {
        for (const container of containersOf(pod)) t.match(container.image, image, `${of(pod)}: ${container.name}`)
        for (const volume of pod.spec.volumes ?? []) if (volume.image) t.match(volume.image.reference, image)
      }
    })

    t.test('a pod has each volume that it mounts, and mounts each that it has', async (t) => {
      for (const pod of podsIn(manifests)) {
        const { volumeClaimTemplates = [] } = Object(only(manifests, pod.kind, pod.name).spec)
        const volumes = [...(pod.spec.volumes ?? []), ...volumeClaimTemplates.map((claim: Manifest) => claim.metadata)]
        const mounts = containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts)
        const named = new Set(volumes.map((volume: { name: string }) => volume.name))
        t.equal(named.size, volumes.length, `${of(pod)}: no name twice`)
        for (const mount of mounts) t.ok(named.has(mount.name), `${of(pod)}: ${mount.name}`)
        const paths = mounts.map(({ mountPath }) => mountPath)
        t.strictSame(paths, [...new Set(paths)], `${of(pod)}: nothing is mounted over another`)
      }
    })
  })
}

t.test('a compiler finds no field that Kubernetes does not know', async (t) => {
  const { code, output } = await compiled(t, [...all.values()].flat())
  t.equal(code, 0, output)
})

t.test('and it would', async (t) => {
  const deployment = only(all.get('dev, Kubernetes 1.35.0') ?? [], 'Deployment')
  const misspelt = structuredClone(deployment)
  Object(misspelt.spec).template.spec.containers[0].redinessProbe = {}
  await t.resolves(validate(misspelt), 'the models say nothing of it')
  const { code, output } = await compiled(t, [misspelt])
  t.not(code, 0)
  t.match(output, /'?"?redinessProbe"?'? does not exist in type/)
})

t.test('and the models find a type that is wrong, or a field that lacks', async (t) => {
  const deployment = only(all.get('dev, Kubernetes 1.35.0') ?? [], 'Deployment')
  const wrong = structuredClone(deployment)
  Object(wrong.spec).replicas = 'two'
  await t.rejects(validate(wrong), /replicas/)
  const lacking = structuredClone(deployment)
  delete Object(lacking.spec).selector
  await t.rejects(validate(lacking), /selector/)
})

/** Runs the compiler over the manifests as literals. */
async function compiled(t: Test, manifests: readonly Manifest[]): Promise<{ code: number | null; output: string }> {
  const compilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, exactOptionalPropertyTypes: true, types: [] },
    ...{ target: 'es2024', module: 'nodenext', moduleResolution: 'nodenext', moduleDetection: 'force' },
  }
  const directory = t.testdir({
    'manifests.ts': typedSource(manifests),
    'tsconfig.json': JSON.stringify({ compilerOptions, include: ['manifests.ts'] }),
    'package.json': '{ "type": "module" }',
  })
  const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', directory]
  const { code, stdout, stderr } = await new Program(t, process.execPath, { args, lifeMs: 60_000 }).exited
  return { code, output: stdout + stderr }
}

/** Of the object, and of the pods and claims that it makes. */
function checkMetadata(t: Test, path: string, value: unknown): void {
  if (!isObject(value)) return
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'labels' || key === 'matchLabels' || (key === 'selector' && isFlat(inner))) {
      for (const [name, text] of Object.entries(Object(inner))) {
        t.match(name, labelKey, `${path}.${key}`)
        t.match(text, labelValue, `${path}.${key}.${name}`)
      }
    } else if (key === 'annotations') {
      for (const [name, text] of Object.entries(Object(inner))) {
        t.match(name, path.includes('PrometheusRule') ? /./ : labelKey, `${path}.${key}`)
        t.type(text, 'string', `${path}.${key}.${name}`)
      }
    } else if (key !== 'data') checkMetadata(t, `${path}.${key}`, inner)
  }
}

const isFlat = (value: unknown): boolean =>
  isObject(value) && Object.values(value).every((inner) => typeof inner === 'string')

function* emptyIn(value: unknown, path: string): Generator<string> {
  if (value === null || value === undefined || value === '') yield path
  if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* emptyIn(item, `${path}[${index}]`)
  else if (isObject(value)) for (const [key, inner] of Object.entries(value)) yield* emptyIn(inner, `${path}.${key}`)
}

const valuesOf = ({ values = [], set = {} }: RenderOptions = {}): unknown[] => [
  set,
  ...[join(chart, 'values.yaml'), ...values].map((file) => parse(readFileSync(file, 'utf8'), { merge: true })),
]

/** Every text somewhere in a value. */
function textsIn(value: unknown, found: Set<string> = new Set()): Set<string> {
  if (typeof value === 'string') found.add(value)
  else if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) textsIn(inner, found)
  return found
}
