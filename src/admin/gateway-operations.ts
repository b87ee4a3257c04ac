import type { ModelRouter } from '../router/model-router.ts'
import { type AdminOperation, operation } from './operation.ts'
import { redactedConfig } from './redacted.ts'
import { ConfigView, ModelList } from './schemas.ts'

export interface GatewayOperationsOptions {
  router: ModelRouter
  /** What is applied now. */
  config(): unknown
}

/** What the gateway tells of itself. */
export const gatewayOperations = ({ router, config }: GatewayOperationsOptions): AdminOperation[] => [
  operation({
    method: 'GET',
    path: '/models',
    action: 'models.list',
    tag: 'gateway',
    summary: 'List the registered models',
    response: ModelList,
    async answer() {
      const data = router.list().map(({ model, client }) => ({
        id: model,
        object: 'model',
        provider: client.provider,
        is_agent: client.agent !== undefined,
        available: client.unavailableMs?.() === undefined,
      }))
      return { object: 'list', data }
    },
  }),
  operation({
    method: 'GET',
    path: '/config',
    action: 'config.get',
    tag: 'gateway',
    summary: 'Show the configuration',
    description: 'Keys, passwords, headers and certificates are left out.',
    response: ConfigView,
    async answer() {
      return { object: 'config', config: redactedConfig(config()) }
    },
  }),
]
