import t from 'tap'
import { RedisServer } from '../redis-server.ts'
import { containerOf, gatewayPod, podsIn, portsOf, selects } from './pods.ts'
import { redisLines } from './redis-lines.ts'
import { type Manifest, only, type RenderOptions, rendered, valuesFor } from './rendered.ts'

const withRedis = (redis: object = {}): Manifest[] => rendered({ set: { redis: { enabled: true, ...redis } } })

const redisPod = (manifests: readonly Manifest[]) => {
  const [pod] = podsIn([only(manifests, 'StatefulSet')])
  if (!pod) throw new Error('the StatefulSet makes no pods')
  return pod
}

const store = (set: RenderOptions['set']): unknown =>
  (only(rendered({ set }), 'ConfigMap', 'signalbox').data as Record<string, string>)['signalbox.yaml']

t.test('it writes down what it is told, and is full rather than forgetful', async (t) => {
  const redis = await RedisServer.start(t, () => redisLines(withRedis({ maxmemory: '64mb' })))
  const setting = async (name: string): Promise<unknown> => {
    const answer = JSON.parse(await redis.ask('CONFIG', 'GET', name))
    return Array.isArray(answer) ? answer[1] : answer[name]
  }
  t.equal(await setting('appendonly'), 'yes')
  t.equal(await setting('save'), '')
  t.equal(await setting('maxmemory'), String(64 * 1024 * 1024))
  t.equal(await setting('maxmemory-policy'), 'noeviction')

  await redis.ask('SET', 'turn', 'kept')
  await redis.kill()
  await redis.restart()
  t.equal(await redis.ask('GET', 'turn'), '"kept"', 'it is there after a crash')
})

t.test('only the gateway reaches it, and it reaches nobody', async (t) => {
  const manifests = withRedis()
  const { spec } = only(manifests, 'NetworkPolicy', 'signalbox-redis') as unknown as {
    spec: {
      podSelector: { matchLabels: Record<string, string> }
      policyTypes: string[]
      ingress: { from: { podSelector: { matchLabels: Record<string, string> } }[]; ports: { port: string }[] }[]
      egress?: unknown
    }
  }
  const redis = redisPod(manifests)
  t.ok(selects(redis.labels, spec.podSelector.matchLabels))
  t.same(spec.policyTypes, ['Ingress', 'Egress'])
  t.equal(spec.egress, undefined)
  const [rule] = spec.ingress
  const [from] = rule?.from ?? []
  const letIn = podsIn(manifests).filter(({ labels }) => selects(labels, from?.podSelector.matchLabels ?? {}))
  t.same(
    letIn.map(({ kind, name }) => `${kind} ${name}`),
    ['Deployment signalbox'],
  )
  t.same(
    rule?.ports.map(({ port }) => port),
    Object.keys(portsOf(containerOf(redis, 'redis'))),
  )
  t.notOk(
    withRedis({ networkPolicy: { enabled: false } }).some(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'signalbox-redis',
    ),
  )
})

t.test('its Service is what the gateway’s configuration names', async (t) => {
  const manifests = rendered({ values: valuesFor('staging'), name: 'chat' })
  t.ok(only(manifests, 'Service', 'chat-redis'))
  const { data } = only(manifests, 'ConfigMap', 'chat-signalbox')
  t.match((data as Record<string, string>)['signalbox.yaml'], 'url: redis://chat-redis:6379\n')
})

t.test('what else config.store says of it stays', async (t) => {
  t.match(store({ redis: { enabled: true }, config: { store: { keyPrefix: 'mine:' } } }), "keyPrefix: 'mine:'")
})

t.test('its password: of a Secret, the same one on both sides, or none', async (t) => {
  const manifests = withRedis({ auth: { existingSecret: 'of-redis', key: 'pass' } })
  const reference = { secretKeyRef: { name: 'of-redis', key: 'pass' } }
  t.match(containerOf(gatewayPod(manifests)).env?.at(-1), { name: 'REDIS_PASSWORD', valueFrom: reference })
  t.match(containerOf(redisPod(manifests), 'redis').env, [{ name: 'REDISCLI_AUTH', valueFrom: reference }])
  t.ok(redisLines(manifests, { 'of-redis': { pass: 'secret' } }).includes('requirepass secret'))
  t.notMatch(redisLines(withRedis()).join('\n'), /requirepass/)
  t.ok(redisLines(withRedis()).includes('protected-mode no'), 'without one, Redis would let in nobody but its own pod')
})

t.test('its pod has a name that stays, and is ready when it answers, not while it loads', async (t) => {
  const manifests = withRedis()
  const { spec } = only(manifests, 'StatefulSet') as unknown as { spec: { serviceName: string } }
  t.match(only(manifests, 'Service', spec.serviceName).spec, { clusterIP: 'None' })
  // With `-e` an error, such as LOADING, is a failure of the command, too.
  t.match(containerOf(redisPod(manifests), 'redis').readinessProbe, {
    exec: { command: ['redis-cli', '-e', 'ping'] },
  })
})

t.test('its data: on a volume, or gone with the pod', async (t) => {
  const claim = (manifests: readonly Manifest[]) =>
    (only(manifests, 'StatefulSet').spec as { volumeClaimTemplates?: unknown }).volumeClaimTemplates
  const { args = [], volumeMounts } = containerOf(redisPod(withRedis()), 'redis')
  t.match(volumeMounts, [{ name: 'data', mountPath: args[args.indexOf('--dir') + 1] }], 'where it writes')
  t.match(claim(withRedis()), [{ spec: { accessModes: ['ReadWriteOnce'] } }])
  t.match(claim(withRedis()), [{ metadata: { name: 'data' }, spec: { resources: { requests: { storage: '2Gi' } } } }])
  t.match(claim(withRedis({ persistence: { storageClass: 'fast' } })), [{ spec: { storageClassName: 'fast' } }])
  const without = withRedis({ persistence: { enabled: false, size: '1Gi' } })
  t.equal(claim(without), undefined)
  t.same(redisPod(without).spec.volumes, [{ name: 'data', emptyDir: { sizeLimit: '1Gi' } }])
})
