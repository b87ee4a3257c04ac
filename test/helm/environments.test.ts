import t from 'tap'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config/load.ts'
import { podsIn } from './pods.ts'
import { environmentFile, environments, kubeVersions, lint, only, rendered, template, valuesFor } from './rendered.ts'

for (const environment of environments) {
  for (const kubeVersion of kubeVersions) {
    t.test(`${environment} on Kubernetes ${kubeVersion}`, async (t) => {
      const values = valuesFor(environment)
      const { status, stdout, stderr } = lint({ values, kubeVersion })
      t.equal(status, 0, stdout + stderr)
      t.notMatch(stdout + stderr, /WARNING|ERROR/)

      const manifests = rendered({ values, kubeVersion })
      const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
      t.equal(new Set(names).size, names.length, 'no object is there twice')
      for (const { kind, metadata } of manifests) {
        t.equal(metadata.namespace, 'llm', `${kind} ${metadata.name} is in the namespace of the release`)
        t.equal(
          metadata.labels?.['app.kubernetes.io/instance'],
          'signalbox',
          `${kind} ${metadata.name} is of the release`,
        )
        t.match(metadata.name, /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)
      }
    })
  }

  t.test(`the configuration of ${environment} is one that the gateway takes`, async (t) => {
    const { data } = only(rendered({ values: valuesFor(environment) }), 'ConfigMap', 'signalbox')
    const text = (data as Record<string, string>)['signalbox.yaml'] ?? ''
    const env = { OPENAI_API_KEY: 'k', REDIS_URL: 'redis://redis:6379', REDIS_PASSWORD: 'secret' }
    const config = parseConfig(text, environment, env)
    t.match(config.server, { host: '0.0.0.0', port: 4000 })
    t.equal(config.metrics.port, 9464)
    t.equal(config.store.kind, environment === 'dev' ? 'memory' : 'redis')
  })
}

t.test('dev needs no Secret and no Redis', async (t) => {
  const text = template({ values: valuesFor('dev') }).stdout
  t.notMatch(text, /secret/i)
  t.notMatch(text, /redis/i)
})

t.test('staging has a Redis of its own, and a provider by a Secret', async (t) => {
  const manifests = rendered({ values: valuesFor('staging') })
  t.ok(only(manifests, 'StatefulSet', 'signalbox-redis'))
  const config = parse(
    (only(manifests, 'ConfigMap', 'signalbox').data as Record<string, string>)['signalbox.yaml'] ?? '',
  )
  t.same(config.providers, { openai: { apiKey: `\${OPENAI_API_KEY}` } })
  t.same(config.store, { kind: 'redis', url: 'redis://signalbox-redis:6379' })
})

t.test('prod without what is its user’s is refused, with all that is missing', async (t) => {
  const { status, stderr } = template({ values: [environmentFile('prod')] })
  t.not(status, 0)
  for (const missing of [
    'REDIS_PASSWORD',
    'REDIS_URL',
    'keys of clients',
    'config.providers',
    'image.digest',
    'ingress.hosts',
    'ingress.tls',
    'networkPolicy.redis.to',
  ]) {
    t.match(stderr, `- ${missing}`)
  }
})

t.test('prod has no Redis of the chart’s, and is scaled and kept up', async (t) => {
  const manifests = rendered({ values: valuesFor('prod') })
  t.notOk(manifests.some(({ kind }) => kind === 'StatefulSet'))
  t.ok(only(manifests, 'PodDisruptionBudget'))
  const { spec } = only(manifests, 'Deployment') as unknown as { spec: object }
  t.notOk('replicas' in spec, 'the autoscaler says how many')
})

t.test('nothing of any environment is a Secret, or has one written out', async (t) => {
  for (const environment of environments) {
    const manifests = rendered({ values: valuesFor(environment) })
    t.notOk(manifests.some(({ kind }) => kind === 'Secret'))
    for (const { name, spec } of podsIn(manifests)) {
      for (const { env = [] } of spec.containers) {
        const secret = env.filter((each) => /KEY$|PASSWORD|AUTH|TOKEN/.test(each.name))
        t.ok(
          secret.every(({ valueFrom }) => valueFrom?.secretKeyRef),
          `${environment} ${name}`,
        )
      }
    }
  }
})
