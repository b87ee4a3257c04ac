import fp from 'fastify-plugin'
import type { ModelParts, ModelsConfig } from '../src/router/configured-models.ts'
import { LiveModels } from '../src/router/live-models.ts'
import { ModelRouter } from '../src/router/model-router.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The registered models. */
    modelRouter: ModelRouter
    /** Those of the configuration among them. Undefined where the router is one's own. */
    liveModels?: LiveModels
  }
}

/** Either a router of one's own, which stays its owner's, or the configuration to build one from. */
export type ModelRouterOptions = { router: ModelRouter } | (ModelsConfig & Omit<ModelParts, 'onBreaker'>)

/** Builds the models and agents of the configuration; closes the connections to their providers with the app. */
export const modelRouter = fp<ModelRouterOptions>(
  async (app, options) => {
    if ('router' in options) {
      app.decorate('modelRouter', options.router)
      return
    }
    const router = new ModelRouter()
    const models = new LiveModels(router, options, {
      ...options,
      onBreaker(change) {
        if (app.hasDecorator('hooks')) app.hooks.emit('onBreaker', change)
      },
    })
    app.decorate('modelRouter', router)
    app.decorate('liveModels', models)
    app.addHook('onClose', () => models.close())
  },
  { name: 'signalbox-model-router' },
)
