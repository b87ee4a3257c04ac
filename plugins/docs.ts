import swagger from '@fastify/swagger'
import swaggerUI from '@fastify/swagger-ui'
import fp from 'fastify-plugin'
import { ownVersion } from '../src/version.ts'

export interface DocsOptions {
  /** What the document calls itself. */
  title: string
  description: string
}

/**
 * An OpenAPI document of the routes that are registered after it, at `/docs/openapi.json`, and a page for it at `/docs`. Both need
 * no key: they say what can be called, and nothing of what there is.
 */
export const docs = fp<DocsOptions>(
  async (app, { title, description }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: { title, description, version: ownVersion() },
        components: { securitySchemes: { adminKey: { type: 'http', scheme: 'bearer' } } },
        security: [{ adminKey: [] }],
        tags: [
          { name: 'keys', description: 'Keys of clients.' },
          { name: 'targets', description: 'Models at providers.' },
          { name: 'gateway', description: 'What the gateway tells of itself.' },
        ],
      },
    })
    await app.register(async (scope) => {
      scope.addHook('onRoute', (route) => {
        route.config = { ...route.config, public: true }
      })
      scope.get('/docs/openapi.json', { schema: { hide: true } }, async () => app.swagger())
      const uiConfig = { deepLinking: true }
      await scope.register(swaggerUI, { routePrefix: '/docs', staticCSP: true, uiConfig, theme: { title } })
    })
  },
  { name: 'signalbox-docs' },
)
