import t from 'tap'
import { containerOf, gatewayPod, podsIn, selects } from './pods.ts'
import { type Manifest, only, type RenderOptions, rendered } from './rendered.ts'

const testPods = (set: RenderOptions['set'] = {}): Manifest[] => rendered({ set }).filter(({ kind }) => kind === 'Pod')

const names = (set: RenderOptions['set']): string[] => testPods(set).map(({ metadata }) => metadata.name)

const withKeys = { secrets: { clientKeys: { existingSecret: 'keys' } } }
const withKey = { ...withKeys, tests: { clientKey: { existingSecret: 'of-test', key: 'key' } } }

t.test('they are run by helm test alone, end, and leave nothing when they succeed', async (t) => {
  for (const { metadata, spec } of testPods()) {
    t.match(metadata.annotations, {
      'helm.sh/hook': 'test',
      'helm.sh/hook-delete-policy': 'before-hook-creation,hook-succeeded',
    })
    t.match(spec, { restartPolicy: 'Never', activeDeadlineSeconds: 120 })
  }
})

t.test('they are in the image of the gateway, which has no shell', async (t) => {
  const manifests = rendered()
  const { image } = containerOf(gatewayPod(manifests))
  for (const pod of podsIn(testPods())) {
    t.equal(containerOf(pod, 'test').image, image)
    t.match(containerOf(pod, 'test').command?.slice(0, 3), ['node', '--input-type=module', '--eval'])
  }
})

t.test('no Service sends requests to them', async (t) => {
  const manifests = rendered()
  for (const { metadata, spec } of manifests.filter(({ kind }) => kind === 'Service')) {
    const { selector } = spec as { selector: Record<string, string> }
    for (const { labels } of podsIn(testPods())) t.notOk(selects(labels, selector), metadata.name)
  }
})

t.test('a completion is asked for where a model is known, and a key is there if one is needed', async (t) => {
  const all = ['signalbox-test-completion', 'signalbox-test-health', 'signalbox-test-models']
  const two = ['signalbox-test-health', 'signalbox-test-models']
  t.same(names({}), all, 'of the demo model')
  t.same(names({ config: { providers: { ollama: { baseURL: 'http://ollama:11434' } } } }), two)
  t.same(names({ secrets: { env: { existingSecret: 'providers' } } }), two, 'a provider may be in there')
  t.same(names({ secrets: { env: { existingSecret: 'providers' } }, tests: { model: 'openai/gpt-4o-mini' } }), all)
  t.same(names(withKeys), two)
  t.same(names(withKey), all)
})

t.test('the key is of a Secret', async (t) => {
  const manifests = rendered({ set: withKey })
  for (const pod of podsIn(manifests.filter(({ kind }) => kind === 'Pod'))) {
    const key = containerOf(pod, 'test').env?.find(({ name }) => name === 'CLIENT_KEY')
    t.same(key, { name: 'CLIENT_KEY', valueFrom: { secretKeyRef: { name: 'of-test', key: 'key' } } })
  }
})

t.test('they ask the Service by its name and port', async (t) => {
  const manifests = rendered({ set: { service: { port: 8080 } }, name: 'chat', namespace: 'ml' })
  const [pod] = podsIn([only(manifests, 'Pod', 'chat-signalbox-test-health')])
  if (!pod) throw new Error('there is no pod')
  t.match(containerOf(pod, 'test').env, [{ value: 'http://chat-signalbox.ml.svc:8080' }])
  t.ok(only(manifests, 'Service', 'chat-signalbox'))
})
