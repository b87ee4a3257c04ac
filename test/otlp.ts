import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js'
import root from 'otlp-old/build/src/generated/root.js'
import { until } from './redis-server.ts'

/** What the library makes of the protocol's own description; its types do not tell. */
interface Decoder {
  decode(bytes: Uint8Array): object
  toObject(message: object, options: { longs: typeof String; bytes: typeof String }): ExportRequest
}
const { opentelemetry } = root as unknown as {
  opentelemetry: { proto: { collector: { trace: { v1: { ExportTraceServiceRequest: Decoder } } } } }
}
const request = opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest

/** A span as a collector gets it, with plain values. */
export interface ReceivedSpan {
  name: string
  kind: 'INTERNAL' | 'SERVER' | 'CLIENT'
  traceId: string
  spanId: string
  /** Empty for a root. */
  parentSpanId: string
  traceState: string
  attributes: Record<string, unknown>
  events: { name: string; attributes: Record<string, unknown> }[]
  status: 'UNSET' | 'OK' | 'ERROR'
  /** In nanoseconds since 1970. */
  start: bigint
  end: bigint
  /** Of the process that sent it. */
  resource: Record<string, unknown>
}

/** An OpenTelemetry collector that keeps what it gets: OTLP over HTTP (protobuf and JSON), and over gRPC. */
export interface Collector {
  /** `http://127.0.0.1:PORT`, for OTLP over HTTP. */
  url: string
  grpcURL: string
  spans: ReceivedSpan[]
  /** What came: `grpc`, or the content type. */
  formats: Set<string>
  /** Addresses that were asked for beside `/v1/traces`. */
  otherPaths: string[]
  /** Resolves with the spans of this name, as soon as there are so many. */
  named(name: string | RegExp, count?: number): Promise<ReceivedSpan[]>
  /** Resolves with the only span of this name. */
  only(name: string | RegExp): Promise<ReceivedSpan>
}

const kinds = ['INTERNAL', 'INTERNAL', 'SERVER', 'CLIENT'] as const
const statuses = ['UNSET', 'OK', 'ERROR'] as const

/** In protobuf's JSON ids are hex; in its binary form they are bytes, and this library's objects have them in base64. */
const hex = (id: string | undefined, isJSON: boolean): string =>
  Buffer.from(id ?? '', isJSON ? 'hex' : 'base64').toString('hex')

interface AnyValue {
  stringValue?: string
  boolValue?: boolean
  intValue?: string | number
  doubleValue?: number
  arrayValue?: { values?: AnyValue[] }
}
interface KeyValue {
  key: string
  value: AnyValue
}
interface ExportRequest {
  resourceSpans?: {
    resource?: { attributes?: KeyValue[] }
    scopeSpans?: { spans?: OTLPSpan[] }[]
  }[]
}
interface OTLPSpan {
  name: string
  kind: number
  traceId: string
  spanId: string
  parentSpanId?: string
  traceState?: string
  attributes?: KeyValue[]
  events?: { name: string; attributes?: KeyValue[] }[]
  status?: { code?: number }
  startTimeUnixNano: string
  endTimeUnixNano: string
}

function plain({ stringValue, boolValue, intValue, doubleValue, arrayValue }: AnyValue): unknown {
  if (arrayValue) return (arrayValue.values ?? []).map(plain)
  if (intValue !== undefined) return Number(intValue)
  return stringValue ?? boolValue ?? doubleValue
}

const plainAll = (attributes: KeyValue[] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]))

function spansOf({ resourceSpans = [] }: ExportRequest, isJSON: boolean): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => ({
        name: span.name,
        kind: kinds[span.kind] ?? 'INTERNAL',
        traceId: hex(span.traceId, isJSON),
        spanId: hex(span.spanId, isJSON),
        parentSpanId: hex(span.parentSpanId, isJSON),
        traceState: span.traceState ?? '',
        attributes: plainAll(span.attributes),
        events: (span.events ?? []).map(({ name, attributes }) => ({ name, attributes: plainAll(attributes) })),
        status: statuses[span.status?.code ?? 0] ?? 'UNSET',
        start: BigInt(span.startTimeUnixNano),
        end: BigInt(span.endTimeUnixNano),
        resource: plainAll(resource?.attributes),
      })),
    ),
  )
}

/** Starts a collector for one test, or for all of a file. */
export async function startCollector(t: { teardown(close: () => Promise<void>): unknown }): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  const formats = new Set<string>()
  const otherPaths: string[] = []
  const decode = (bytes: Uint8Array): ExportRequest =>
    request.toObject(request.decode(bytes), { longs: String, bytes: String })

  const http = createServer(async (incoming, answer) => {
    const sent = await buffer(incoming)
    const bytes = incoming.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
    if (incoming.url === '/v1/traces') {
      const format = String(incoming.headers['content-type'])
      const isJSON = format === 'application/json'
      formats.add(format)
      spans.push(...spansOf(isJSON ? JSON.parse(bytes.toString()) : decode(bytes), isJSON))
    } else otherPaths.push(incoming.url ?? '')
    answer.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  })
  await once(http.listen(0, '127.0.0.1'), 'listening')

  const grpc = new GrpcServer()
  const path = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
  const identity = (bytes: Buffer): Buffer => bytes
  grpc.addService(
    {
      export: {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      },
    },
    {
      export(call: { request: Buffer }, answer: (error: null, bytes: Buffer) => void) {
        formats.add('grpc')
        spans.push(...spansOf(decode(call.request), false))
        answer(null, Buffer.alloc(0))
      },
    },
  )
  const { promise: bound, resolve, reject } = Promise.withResolvers<number>()
  grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  )
  const grpcPort = await bound

  t.teardown(async () => {
    grpc.forceShutdown()
    http.close()
    http.closeAllConnections()
  })
  const matching = (name: string | RegExp): ReceivedSpan[] =>
    spans.filter((span) => (typeof name === 'string' ? span.name === name : name.test(span.name)))
  const named = async (name: string | RegExp, count = 1): Promise<ReceivedSpan[]> => {
    await until(async () => matching(name).length >= count, `${count} of ${name}`)
    return matching(name)
  }
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    grpcURL: `http://127.0.0.1:${grpcPort}`,
    spans,
    formats,
    otherPaths,
    named,
    async only(name) {
      const found = await named(name)
      const [span] = found
      if (!span || found.length > 1) throw new Error(`${found.length} spans of the name ${name}`)
      return span
    },
  }
}
