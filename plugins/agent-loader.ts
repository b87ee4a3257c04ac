import fp from 'fastify-plugin'
import type { AgentLoaderPlugin } from '../src/agent/loaders.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Resolves agents per request; undefined when every model is its registered entry. */
    agentLoader?: AgentLoaderPlugin | undefined
  }
}

export interface AgentLoaderOptions {
  /** Default: none. */
  loader?: AgentLoaderPlugin | undefined
}

/** Agents per request: by user, by tenant, from a database. */
export const agentLoader = fp<AgentLoaderOptions>(
  async (app, { loader }) => {
    if (app.hasDecorator('oaiServer')) throw new Error('register agent-loader before oai-server, which takes it up')
    app.decorate('agentLoader', loader)
  },
  { name: 'signalbox-agent-loader' },
)
