import fp from 'fastify-plugin'
import { configuredModels, type ModelParts, type ModelsConfig } from '../src/router/configured-models.ts'
import { ModelRouter } from '../src/router/model-router.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The registered models. */
    modelRouter: ModelRouter
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
    const models = configuredModels(options, {
      ...options,
      onBreaker(change) {
        if (app.hasDecorator('hooks')) app.hooks.emit('onBreaker', change)
      },
    })
    const router = new ModelRouter()
    for (const entry of models.entries) router.register(entry)
    app.decorate('modelRouter', router)
    app.addHook('onClose', () => models.close())
  },
  { name: 'signalbox-model-router' },
)
