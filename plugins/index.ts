/** The Fastify plugins of Signalbox, for an app of your own. `app.ts` shows the order. */
export { type AuthOptions, auth } from './auth.ts'
export { type CorsOptions, cors } from './cors.ts'
export { answerMalformedRequest, errors, sendError } from './errors.ts'
export { health } from './health.ts'
export { type HooksOptions, hooks } from './hooks.ts'
export { type ModelRouterOptions, modelRouter } from './model-router.ts'
export { type OaiServerPluginOptions, oaiServer } from './oai-server.ts'
export { requestLog } from './request-log.ts'
