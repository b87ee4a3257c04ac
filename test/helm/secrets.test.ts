import t from 'tap'
import { containerOf, gatewayPod } from './pods.ts'
import { only, rendered } from './rendered.ts'

t.test('the keys of clients are mounted as files that only the pod’s group reads', async (t) => {
  const pod = gatewayPod(rendered({ set: { secrets: { clientKeys: { existingSecret: 'keys' } } } }))
  t.match(pod.spec.volumes?.at(-1), { name: 'client-keys', secret: { secretName: 'keys', defaultMode: 0o440 } })
  t.match(containerOf(pod).volumeMounts?.at(-1), { name: 'client-keys', mountPath: '/etc/signalbox-keys' })
  t.equal(pod.spec.securityContext?.fsGroup, pod.spec.securityContext?.runAsGroup)
})

t.test('the External Secrets Operator makes both, and the pod uses what it makes', async (t) => {
  const env = { dataFrom: [{ extract: { key: 'llm/providers' } }] }
  const clientKeys = { data: [{ secretKey: 'alice', remoteRef: { key: 'llm/clients', property: 'alice' } }] }
  const externalSecrets = { enabled: true, secretStoreRef: { name: 'vault' }, env, clientKeys }
  const manifests = rendered({ set: { externalSecrets } })
  const common = { refreshInterval: '1h', secretStoreRef: { name: 'vault', kind: 'ClusterSecretStore' } }
  t.same(only(manifests, 'ExternalSecret', 'signalbox-env').spec, {
    ...common,
    ...env,
    target: { name: 'signalbox-env', creationPolicy: 'Owner' },
  })
  t.same(only(manifests, 'ExternalSecret', 'signalbox-client-keys').spec, {
    ...common,
    ...clientKeys,
    target: { name: 'signalbox-client-keys', creationPolicy: 'Owner' },
  })
  const pod = gatewayPod(manifests)
  t.same(containerOf(pod).envFrom, [{ secretRef: { name: 'signalbox-env' } }])
  t.match(pod.spec.volumes?.at(-1), { secret: { secretName: 'signalbox-client-keys' } })
})

t.test('one of the two may be made, and the other be there', async (t) => {
  const manifests = rendered({
    set: {
      secrets: { clientKeys: { existingSecret: 'keys' } },
      externalSecrets: { enabled: true, secretStoreRef: { name: 'vault' }, env: { dataFrom: [] } },
    },
  })
  t.same(
    manifests.filter(({ kind }) => kind === 'ExternalSecret').map(({ metadata }) => metadata.name),
    ['signalbox-env'],
  )
  t.match(gatewayPod(manifests).spec.volumes?.at(-1), { secret: { secretName: 'keys' } })
})

t.test('the account of the pod: without a token, its own or one that is there', async (t) => {
  const account = (serviceAccount: object) => {
    const manifests = rendered({ set: { serviceAccount } })
    const made = manifests.find(({ kind }) => kind === 'ServiceAccount')
    return { used: gatewayPod(manifests).spec.serviceAccountName, made }
  }
  const annotations = { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/llm' }
  const { used, made } = account({ annotations })
  t.equal(used, 'signalbox')
  t.match(made, { metadata: { name: 'signalbox', annotations }, automountServiceAccountToken: false })
  t.match(account({ name: 'llm' }), { used: 'llm', made: { metadata: { name: 'llm' } } })
  t.match(account({ create: false }), { used: 'default', made: undefined })
  t.match(account({ create: false, name: 'mine' }), { used: 'mine', made: undefined })
})
