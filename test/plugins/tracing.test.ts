/** The gateway as a process, with the variables of OpenTelemetry. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import Fastify from 'fastify'
import { createDemo, ModelRouter } from 'signalbox'
import { auth, errors, health, hooks, modelRouter, oaiServer, requestLog, tracing } from 'signalbox/plugins'
import t, { type Test } from 'tap'
import { startCollector } from '../otlp.ts'
import { type GatewayProcess, messagesOf, runGateway } from '../process.ts'
import { freePort } from '../redis-server.ts'

const problem = 'OpenTelemetry has a problem: traces may be missing'
const body = JSON.stringify({ model: 'demo/echo', messages: [{ role: 'user', content: 'Hello!' }] })

const chat = ({ baseURL }: GatewayProcess, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${baseURL}/chat/completions`, { method: 'POST', body, headers })

/** A gateway without a provider, and so with the demo model. */
const gatewayWith = (t: Test, env: Record<string, string>, config = ''): Promise<GatewayProcess> =>
  runGateway(t, { cwd: t.testdir({ 'signalbox.yaml': `server: { drainDelay: 0s }\n${config}` }), env })

/** Ends it as Kubernetes does. */
async function stop({ process }: GatewayProcess): Promise<{ code: number | null; stderr: string; seconds: number }> {
  const startedAt = performance.now()
  process.kill('SIGTERM')
  const { code, stderr } = await process.exited
  return { code, stderr, seconds: (performance.now() - startedAt) / 1000 }
}

for (const [protocol, format] of [
  ['http/protobuf', 'application/x-protobuf'],
  ['http/json', 'application/json'],
  ['grpc', 'grpc'],
] as const) {
  t.test(`OTEL_EXPORTER_OTLP_PROTOCOL=${protocol}: what is left is sent at the end`, async (t) => {
    const collector = await startCollector(t)
    const gateway = await gatewayWith(t, {
      OTEL_EXPORTER_OTLP_ENDPOINT: protocol === 'grpc' ? collector.grpcURL : collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_SERVICE_NAME: 'front-door',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      OTEL_BSP_SCHEDULE_DELAY: '60000',
    })
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const answer = await chat(gateway, { traceparent: `00-${traceId}-b7ad6b7169203331-01` })
    t.equal(answer.status, 200)
    t.same(collector.spans, [], 'nothing is sent meanwhile')
    t.match(await stop(gateway), { code: 0, stderr: '' })
    t.same([...collector.formats], [format])
    t.same(collector.otherPaths, [], 'neither metrics nor logs')
    const server = await collector.only('POST /v1/chat/completions')
    const attempt = await collector.only('chat echo')
    t.match(server, { kind: 'SERVER', traceId, parentSpanId: 'b7ad6b7169203331', status: 'UNSET' })
    t.match(attempt, { kind: 'CLIENT', traceId, parentSpanId: server.spanId })
    t.match(attempt.attributes, {
      'gen_ai.operation.name': 'chat',
      'gen_ai.usage.input_tokens': 1,
      'gen_ai.response.finish_reasons': ['stop'],
    })
    t.match(server.resource, { 'service.name': 'front-door', 'deployment.environment.name': 'test' })
    const line = gateway.process.stdout.split('\n').find((text) => text.includes('"msg":"request"'))
    t.match(JSON.parse(line ?? ''), { trace_id: traceId, span_id: server.spanId, trace_flags: '01' })
    t.notOk(messagesOf(gateway.process.stdout).includes(problem))
  })
}

t.test('a request that authentication refuses is traced, and its line says where and why', async (t) => {
  const collector = await startCollector(t)
  const config = 'auth: { keys: [{ key: sk-client-0001, user: ann }] }'
  const gateway = await gatewayWith(t, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, config)
  t.equal((await chat(gateway)).status, 401)
  t.match(await stop(gateway), { code: 0 })
  const span = await collector.only('POST')
  t.match(span, { kind: 'SERVER', attributes: { 'http.response.status_code': 401 } })
  const line = gateway.process.stdout.split('\n').find((text) => text.includes('"msg":"request"'))
  t.match(JSON.parse(line ?? ''), { trace_id: span.traceId, span_id: span.spanId, status: 401, reason: String })
})

t.test('without any of its variables, or with OTEL_SDK_DISABLED, nothing is traced', async (t) => {
  const collector = await startCollector(t)
  for (const env of [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SDK_DISABLED: 'true' }]) {
    const gateway = await gatewayWith(t, env, 'tracing: {}')
    t.equal((await chat(gateway)).status, 200)
    t.match(await stop(gateway), { code: 0 })
    t.notMatch(gateway.process.stdout, 'trace_id')
  }
  t.same(collector.spans, [])
})

t.test('a collector that is not there is a line in the log, and nothing more', async (t) => {
  for (const protocol of ['http/protobuf', 'grpc']) {
    const gateway = await gatewayWith(t, {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort()}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_EXPORTER_OTLP_TIMEOUT: '300',
      OTEL_BSP_SCHEDULE_DELAY: '20',
      OTEL_LOG_LEVEL: 'debug',
    })
    for (let n = 0; n < 5; n++) t.equal((await chat(gateway)).status, 200)
    await gateway.process.says(new RegExp(problem))
    for (let n = 0; n < 5; n++) t.equal((await chat(gateway)).status, 200)
    const { code, stderr } = await stop(gateway)
    t.equal(code, 0)
    t.equal(stderr, '', 'nothing goes to the console')
    const lines = gateway.process.stdout.trim().split('\n').slice(1)
    t.equal(messagesOf(gateway.process.stdout).filter((message) => message === problem).length, 1, 'once in a while')
    t.ok(lines.every((line) => line.startsWith('{')))
  }
})

t.test('a collector that never answers delays neither a request nor the end', async (t) => {
  const sockets = new Set<Socket>()
  const blackHole = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1')
  await once(blackHole, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    blackHole.close()
  })
  const { port } = blackHole.address() as AddressInfo
  for (const protocol of ['http/protobuf', 'grpc']) {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_BSP_SCHEDULE_DELAY: '20',
    }
    const gateway = await gatewayWith(t, env, 'tracing: { flushTimeout: 500ms }')
    t.equal((await chat(gateway)).status, 200)
    while (sockets.size === 0) await once(blackHole, 'connection')
    const answers = await Promise.all(Array.from({ length: 50 }, () => chat(gateway)))
    t.ok(answers.every(({ status }) => status === 200))
    const { code, seconds } = await stop(gateway)
    t.equal(code, 0)
    // The SDK alone would wait for ten seconds.
    t.ok(seconds < 6, `it took ${seconds} s`)
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
})

t.test('in an app of one’s own', async (t) => {
  const collector = await startCollector(t)
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.url
  t.teardown(() => {
    delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  })
  const router = new ModelRouter()
  router.register({ model: 'demo/echo', client: createDemo() })
  const app = Fastify()
  for (const plugin of [hooks, errors, requestLog, health, tracing]) await app.register(plugin)
  await app.register(auth, {})
  await app.register(modelRouter, { router })
  await app.register(oaiServer)
  let ids: object | undefined
  app.hooks.on('onResponse', ({ requestId }) => {
    ids = app.tracing?.idsOf(requestId)
  })
  const url = await app.listen({ port: 0 })
  t.equal((await fetch(`${url}/v1/chat/completions`, { method: 'POST', body })).status, 200)
  await app.close()
  const { traceId, spanId, resource } = await collector.only('POST /v1/chat/completions')
  t.strictSame(ids, { trace_id: traceId, span_id: spanId, trace_flags: '01' })
  t.equal(resource['service.name'], 'signalbox')
})
