/** What OpenTelemetry writes down is quick to write. */
import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import { type Attributes, INVALID_SPAN_CONTEXT, type Span, type Tracer } from '@opentelemetry/api'
import t from 'tap'
import { RequestContexts } from '../../src/tracing/request-contexts.ts'
import { traceRequests } from '../../src/tracing/trace-requests.ts'
import { CLIENT_KEY, GATEWAY_KEY, startGateway } from '../gateway.ts'
import { startUpstream } from '../upstream.ts'

setFlagsFromString('--allow-natives-syntax')
const looksAs: (one: string, other: string) => boolean = runInThisContext('(one, other) => %HaveSameMap(one, other)')

/** Whether V8 has the text as a pointer to the key of an object, as which it was used. */
function isPointer(text: string): boolean {
  for (let tries = 0; tries < 100; tries++) {
    const pointer = ['used', process.pid].join(' as a key ')
    const isKey = pointer in { [pointer]: 0 }
    // A garbage collection at this very moment would have put the key in the place of its pointer.
    if (isKey && !looksAs(pointer, 'a key')) return looksAs(text, pointer)
  }
  throw new Error('V8 makes no pointers of such texts any more: what this is about has gone')
}

/** Spans that note what they are told, as it is. */
function recorder(told: Attributes): Tracer {
  const span: Partial<Span> = {
    spanContext: () => INVALID_SPAN_CONTEXT,
    isRecording: () => true,
    setAttributes(attributes) {
      Object.assign(told, attributes)
      return span as Span
    },
    updateName: () => span as Span,
    addEvent: () => span as Span,
    end: () => {},
  }
  return {
    startSpan(_name, { attributes = {} } = {}) {
      span.setAttributes?.(attributes)
      return span as Span
    },
    startActiveSpan: () => undefined as never,
  }
}

const upstream = await startUpstream()
t.teardown(() => upstream.close())

for (const [provider, kind] of [
  ['openai', undefined],
  ['anthropic', undefined],
  ['our-laboratory-in-the-cellar', 'openai-compatible'],
  ['openai-in-europe', 'openai'],
  ['elon', 'xai'],
] as const) {
  t.test(`no attribute is a text that was a key: ${provider}${kind ? `, which is ${kind}` : ''}`, async (t) => {
    const told: Attributes = {}
    const config = {
      auth: { keys: [{ key: CLIENT_KEY, user: 'somebody-of-the-platform-team' }] },
      providers: { [provider]: { baseURL: upstream.baseURL, apiKey: GATEWAY_KEY, ...(kind ? { kind } : {}) } },
      models: { 'our-small-model': { targets: [{ model: `${provider}/a-model-with-a-long-name` }] } },
      metrics: { enabled: true },
    }
    const gateway = await startGateway(t, { config })
    const kinds = kind ? { [provider]: kind } : {}
    traceRequests(gateway.hooks, { tracer: recorder(told), contexts: new RequestContexts(), kinds })
    const ask = { model: 'our-small-model', messages: [{ role: 'user', content: 'hello' }] }
    await gateway.post('/v1/chat/completions', ask)
    t.match(told, {
      'gen_ai.provider.name': String,
      'gen_ai.request.model': 'a-model-with-a-long-name',
      'user.id': String,
    })
    for (const [name, value] of Object.entries(told)) {
      const texts = [value].flat().filter((text) => typeof text === 'string')
      for (const text of texts) t.notOk(isPointer(text), name)
    }
  })
}
