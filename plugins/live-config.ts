import fp from 'fastify-plugin'
import { LiveConfig, type LiveConfigOptions } from '../src/config/live-config.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The configuration in force. Plugins that can take up another one while the app runs add themselves. */
    liveConfig: LiveConfig
  }
}

export type LiveConfigPluginOptions = Pick<LiveConfigOptions, 'config' | 'load'>

/** The configuration in force, and its reload; it is told to the hooks and the log. Registered before those that take part. */
export const liveConfig = fp<LiveConfigPluginOptions>(
  async (app, options) => {
    const live = new LiveConfig({ ...options, onReload: (report) => app.hooks.emit('onConfigReload', report) })
    app.decorate('liveConfig', live)
    app.hooks.on('onConfigReload', ({ outcome, revision, changed, needsRestart, problems }) => {
      if (outcome === 'failed') {
        app.log.error({ revision, problems }, 'the configuration was not reloaded: the last good one stays in force')
        return
      }
      if (outcome === 'applied') app.log.info({ revision, changed }, 'the configuration was reloaded')
      else app.log.info({ revision }, 'the configuration was read again: it is as it was')
      if (needsRestart.length > 0) {
        app.log.warn({ revision, needsRestart }, 'a part of the configuration waits for a restart')
      }
    })
  },
  { name: 'signalbox-live-config', dependencies: ['signalbox-hooks'] },
)
