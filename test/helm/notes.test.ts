import t from 'tap'
import { notes, type RenderOptions, valuesFor } from './rendered.ts'

const said = (set: RenderOptions['set']): string => notes({ set })

t.test('how to reach it, and how to see that it works', async (t) => {
  const text = notes({ values: valuesFor('dev') })
  t.match(text, 'http://signalbox.llm.svc/v1\n')
  t.match(text, 'kubectl --namespace llm port-forward service/signalbox 4000:80\n')
  t.match(text, 'helm --namespace llm test signalbox\n')
  t.match(text, 'only the local stand-in demo/echo answers')
  t.match(said({ service: { port: 8080 } }), 'http://signalbox.llm.svc:8080/v1\n')
})

t.test('outside', async (t) => {
  const text = notes({ values: valuesFor('prod') })
  t.match(text, 'https://llm.example.com/v1\n')
  t.match(text, 'get secret signalbox-env\n')
  t.match(text, 'get secret signalbox-client-keys\n')
  t.notMatch(text, /WARNING|demo/)
  t.match(
    said({ httpRoute: { enabled: true, parentRefs: [{ name: 'public' }], hostnames: ['a.example'] } }),
    'a.example/v1',
  )
})

t.test('the admin API', async (t) => {
  const keys = [{ name: 'ops', sha256: 'a'.repeat(64) }]
  t.match(said({ config: { admin: { enabled: true, keys } } }), 'port-forward service/signalbox-admin 4001\n')
  t.notMatch(said({}), /admin/)
})

t.test('warned of: a gateway that is open to anyone', async (t) => {
  t.match(said({}), /WARNING: no keys of clients/)
  t.notMatch(said({ secrets: { clientKeys: { existingSecret: 'keys' } } }), /no keys of clients/)
})

t.test('warned of: replicas that share nothing', async (t) => {
  t.match(said({}), /WARNING: more than one replica/)
  t.match(said({ replicaCount: 1, autoscaling: { enabled: true, minReplicas: 1 } }), /WARNING: more than one replica/)
  t.notMatch(said({ replicaCount: 1 }), /more than one replica/)
  t.notMatch(said({ redis: { enabled: true } }), /more than one replica/)
})

t.test('warned of: a policy that keeps the gateway from its Redis', async (t) => {
  const config = { store: { kind: 'redis', url: 'redis://elsewhere' } }
  const warning = /WARNING: the network policy keeps the gateway from the Redis/
  t.match(said({ config }), warning)
  const to = [{ ipBlock: { cidr: '10.20.0.0/24' } }]
  t.notMatch(said({ config, networkPolicy: { redis: { to } } }), warning)
  t.notMatch(said({ config, networkPolicy: { extraEgress: [{ to }] } }), warning)
  t.notMatch(said({ config, networkPolicy: { enabled: false } }), warning)
  t.notMatch(said({ redis: { enabled: true } }), warning)
  t.notMatch(said({}), warning)
})
