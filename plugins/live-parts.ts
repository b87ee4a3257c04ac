import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BearerKeyAuth } from '../src/auth/bearer-key-auth.ts'
import type { PreparedChange } from '../src/config/live-config.ts'
import { kindsOf, providersOf, targetsOf } from '../src/config/named.ts'
import type { Config } from '../src/config/schema.ts'
import { createCatalog } from '../src/engine/catalog.ts'

export interface LivePartsOptions {
  /** The keys of the configuration; undefined where they are not what decides. */
  keys?: BearerKeyAuth | undefined
  /** The kinds of its providers, as spans name them: those of a new configuration are added. */
  kinds: Record<string, string>
}

/** What of the service takes up another configuration while it runs. Register it last. */
export const liveParts = fp<LivePartsOptions>(
  async (app, { keys, kinds }) => {
    app.liveConfig.add({ keys: ['server.logLevel'], prepare: (next) => levelOf(app, next) })
    if (keys) app.liveConfig.add({ keys: ['auth.keys'], prepare: (next) => keysOf(keys, next) })
    app.liveConfig.add({
      keys: ['providers', 'models', 'agents', 'catalog', 'server.bodyLimit', 'server.jsonDepth'],
      prepare: (next) => modelsOf(app, kinds, next),
    })
  },
  {
    name: 'signalbox-live-parts',
    dependencies: ['signalbox-live-config', 'signalbox-model-router', 'signalbox-oai-server'],
  },
)

const levelOf = (app: FastifyInstance, { server }: Config): PreparedChange => ({
  commit() {
    app.log.level = server.logLevel
  },
})

/** Whoever was let in stays in: what is revoked is refused from the next request on. */
function keysOf(keys: BearerKeyAuth, { auth }: Config): PreparedChange {
  const next = new BearerKeyAuth({ keys: auth?.keys ?? [] })
  return { commit: () => keys.become(next) }
}

/** With what they cost and hold, since both are of the catalog. */
function modelsOf(app: FastifyInstance, kinds: Record<string, string>, next: Config): PreparedChange {
  const { providers, server } = next
  const catalog = createCatalog(next.catalog, kindsOf(providers))
  const models = app.liveModels?.prepare(
    next,
    () => app.oaiServer.settledSoFar(),
    ({ provider, model }) => catalog.find(provider, model)?.contextWindow,
  )
  return {
    commit() {
      models?.commit()
      app.oaiServer.configure({ prices: catalog, limits: { bodyLimit: server.bodyLimit, jsonDepth: server.jsonDepth } })
      Object.assign(kinds, kindsOf(providers))
      if (app.hasDecorator('metrics')) app.metrics.know(targetsOf(next), providersOf(next))
    },
    discard: () => models?.discard(),
  }
}
