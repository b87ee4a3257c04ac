import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type TSchema, Type } from 'typebox'
import { AdminAuth } from '../src/admin/admin-auth.ts'
import { Audit } from '../src/admin/audit.ts'
import { gatewayOperations } from '../src/admin/gateway-operations.ts'
import { keyOperations } from '../src/admin/key-operations.ts'
import type { AdminOperation } from '../src/admin/operation.ts'
import { ErrorEnvelope } from '../src/admin/schemas.ts'
import { targetOperations } from '../src/admin/target-operations.ts'
import { TargetStates } from '../src/admin/target-states.ts'
import { UsageRecords } from '../src/admin/usage-records.ts'
import type { UsageSource } from '../src/admin/usage-source.ts'
import { validated } from '../src/admin/validated.ts'
import type { AdminConfig } from '../src/config/admin-schema.ts'
import type { TargetSwitch } from '../src/router/target-switch.ts'
import { GatewayError } from '../src/server/errors.ts'
import { answerMalformedRequest, answerUnreadable, errors } from './errors.ts'
import { hooks } from './hooks.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a call of the admin API. */
    audit: Audit | null
  }
  interface FastifyContextConfig {
    /** What the audit calls a route of the admin API. */
    action?: string
  }
}

export interface AdminOptions extends Pick<AdminConfig, 'keys'> {
  /** A port of its own, 0 for a free one. Default: the app's. */
  port?: number | undefined
  /** Of that port. Default `127.0.0.1`. */
  host?: string | undefined
  /** Where the targets of the models are taken out. */
  targetSwitch: TargetSwitch
  /** The configuration that is applied. */
  config(): unknown
  /** Who counts what keys use. Default: counted here, every few seconds into the store. */
  usage?: UsageSource
}

const about = {
  title: 'Signalbox admin API',
  description: 'Keys of clients, what they use, and the targets of models. Every call needs a key of `admin.keys`.',
}

/** The admin API below `/admin/v1`, and its documentation at `/docs`. Register it before the server, which takes all other paths. */
export const admin = fp<AdminOptions>(
  async (app, { port, host = '127.0.0.1', keys, targetSwitch, config, usage }) => {
    if (!app.storedKeys) throw new Error('register stored-keys before admin, which makes them')
    const { records, auth, store } = app.storedKeys
    const states = new TargetStates({ ...store, targetSwitch })
    const operations = [
      ...keyOperations({ records, usage: usage ?? ownUsage(app, store) }),
      ...targetOperations(states),
      ...gatewayOperations({ router: app.modelRouter, config }),
    ]
    const adminAuth = new AdminAuth(keys, auth)
    const serve = async (scope: FastifyInstance): Promise<void> => {
      // Loaded here, and not above: whoever has no admin API does not pay for it.
      await scope.register((await import('./docs.ts')).docs, about)
      await scope.register(async (api) => routes(api, operations, adminAuth), { prefix: '/admin/v1' })
    }
    app.addHook('onReady', () => states.start())
    app.addHook('onClose', async () => states.close())
    if (port === undefined) {
      await app.register(async (scope) => serve(scope))
      return
    }
    const own = Fastify({
      genReqId: () => `req_${crypto.randomUUID()}`,
      frameworkErrors: answerUnreadable,
      clientErrorHandler: answerMalformedRequest,
      forceCloseConnections: true,
      requestTimeout: 30_000,
    })
    await own.register(hooks, { hooks: app.hooks })
    await own.register(errors)
    own.setNotFoundHandler(refuseUnknown)
    await serve(own)
    app.addHook('onReady', async () => {
      app.log.info(`The admin API is at ${await own.listen({ host, port })}/admin/v1`)
    })
    app.addHook('onClose', () => own.close())
  },
  {
    name: 'signalbox-admin',
    dependencies: ['signalbox-hooks', 'signalbox-errors', 'signalbox-stored-keys', 'signalbox-model-router'],
  },
)

function ownUsage(app: FastifyInstance, store: NonNullable<FastifyInstance['storedKeys']>['store']): UsageSource {
  const records = new UsageRecords({ ...store, hooks: app.hooks })
  app.addHook('onClose', () => records.close())
  return records
}

/** Each operation as a route: first who calls, then whether the call fits its schemas, and in any case the audit. */
function routes(api: FastifyInstance, operations: readonly AdminOperation[], auth: AdminAuth): void {
  api.decorateRequest('audit', null)
  api.addHook('onRequest', async (request) => {
    request.audit = new Audit(request.id, request.routeOptions.config.action ?? 'unknown')
    const { authorization = '' } = request.headers
    request.audit.by(await auth.nameOf(new Headers({ authorization })))
  })
  // Before the answer is out: nobody gets one of which nothing is known.
  api.addHook('onSend', async ({ audit, server }, reply) => audit?.end(server.hooks, reply.statusCode))
  // By the operations themselves, whose refusals name the field.
  api.setValidatorCompiler(() => () => true)
  api.setSerializerCompiler(() => JSON.stringify)
  acceptEmptyJSON(api)
  for (const operation of operations) {
    const { method, path, action, tag, summary, description, params, query, body, response, status = 200 } = operation
    api.route({
      method,
      url: path,
      config: { public: true, action },
      schema: {
        ...{ operationId: action.replace('.', '_'), tags: [tag], summary, ...(description && { description }) },
        ...{ params, querystring: query, ...(body && { body }) },
        response: { [status]: described(response, summary), '4xx': described(ErrorEnvelope, 'Refused.') },
      },
      handler: answering(operation),
    })
  }
  acceptSlashes(api, operations)
  api.all('/*', { config: { public: true }, schema: { hide: true } }, refuseUnknown)
}

function answering({ params, query, body, answer, status = 200 }: AdminOperation) {
  const checked = { params: validated(params), query: validated(query), body: validated(body ?? Type.Object({})) }
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { audit } = request
    const call = {
      params: checked.params(request.params),
      query: checked.query(request.query),
      body: checked.body(request.body),
      admin: audit?.admin ?? '',
      concerns: (subject: string, changes?: readonly string[]) => audit?.concerns(subject, changes),
    }
    reply.code(status)
    return answer(call)
  }
}

/** A model's name has slashes, which clients may send as they are: what is at the end of the path says what to do. */
function acceptSlashes(api: FastifyInstance, operations: readonly AdminOperation[]): void {
  const byEnd = new Map(
    operations.flatMap((operation) => {
      const [, end] = /:provider\/:model\/(\w+)$/.exec(operation.path) ?? []
      return end === undefined ? [] : [[end, operation] as const]
    }),
  )
  api.post<{ Params: { provider: string; '*': string } }>(
    '/targets/:provider/*',
    { config: { public: true, action: 'targets.change' }, schema: { hide: true } },
    async (request, reply) => {
      const { provider, '*': rest } = request.params
      const end = rest.lastIndexOf('/')
      const operation = byEnd.get(rest.slice(end + 1))
      if (!operation || end < 1) return refuseUnknown(request)
      request.audit?.does(operation.action)
      request.params = { provider, model: rest.slice(0, end) } as never
      return answering(operation)(request, reply)
    },
  )
}

/** With the text that an OpenAPI document needs for an answer. */
const described = (schema: TSchema, description: string): object => ({ ...schema, description })

/** Clients send the content type of a body where there is none. */
function acceptEmptyJSON(api: FastifyInstance): void {
  const parse = api.getDefaultJsonParser('error', 'error')
  api.removeContentTypeParser('application/json')
  api.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parse(request, body, done)
  })
}

async function refuseUnknown({ method, url }: FastifyRequest): Promise<never> {
  throw new GatewayError('not_found', `the admin API has no ${method} ${url.split('?', 1)[0]}`)
}
