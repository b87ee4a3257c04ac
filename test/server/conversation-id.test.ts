import fc from 'fast-check'
import t from 'tap'
import type { ChatRequest } from '../../src/index.ts'
import { agentConversation, assertNaming, namedConversation, toHeader } from '../../src/server/conversation-id.ts'
import { WebRequest } from '../../src/server/web-request.ts'

const request = (fields: object = {}): ChatRequest => ({ model: 'm', messages: [], ...fields })
const headers = (id?: string): WebRequest =>
  new WebRequest(new Request('http://localhost/', id === undefined ? {} : { headers: { 'x-conversation-id': id } }))

/** The client's fault, and where it stands. */
const refusal = (param: string) => ({ code: null, status: 400, param })

/** A header as it comes over the wire: bytes, each of them a character. */
const bytes = (text: string, encoding: 'utf8' | 'latin1'): WebRequest =>
  headers(Buffer.from(text, encoding).toString('latin1'))

const inMetadata = (conversation_id: unknown): ChatRequest => request({ metadata: { conversation_id } })

t.test('the header names it, else the metadata, else nothing', async (t) => {
  t.equal(namedConversation(headers('c1'), inMetadata('c2')), 'c1')
  t.equal(namedConversation(headers(), inMetadata('c2')), 'c2')
  for (const metadata of [undefined, null, {}, { conversation_id: null }, { other: 'c' }]) {
    t.equal(namedConversation(headers(), request({ metadata })), undefined)
  }
  t.equal(namedConversation(headers(), request({ user: 'alice' })), undefined, 'a user is one for agents only')
})

t.test('an agent has one in any case: of the user, or a new one', async (t) => {
  t.equal(agentConversation(request({ user: 'alice' })), 'alice')
  for (const user of [undefined, null, '']) {
    const fields = request({ user })
    t.match(agentConversation(fields), /^conv_[\da-f]{32}$/)
    t.not(agentConversation(fields), agentConversation(fields))
  }
})

t.test('what cannot be a name is refused, and it is told where it stands', async (t) => {
  for (const id of ['', 'x'.repeat(257), 'a\nb', 'a\u0000', '\u007f', 'a\u0085', '\ud800', 7, true, {}, ['c1']]) {
    t.throws(
      () => namedConversation(headers(), inMetadata(id)),
      refusal('metadata.conversation_id'),
      JSON.stringify(id),
    )
  }
  for (const id of ['', 'x'.repeat(257), 'a\tb']) {
    t.throws(() => namedConversation(headers(id), request()), refusal('x-conversation-id'))
  }
  for (const user of ['x'.repeat(257), 'a\nb', '\ud800']) {
    t.throws(() => assertNaming(request({ user })), refusal('user'))
  }
  for (const user of [undefined, null, '', 'alice', 'é']) t.doesNotThrow(() => assertNaming(request({ user })))
})

t.test('a name of 256 characters is one, in every script', async (t) => {
  for (const id of ['x'.repeat(256), 'я'.repeat(256), '😀'.repeat(128)]) {
    t.equal(namedConversation(headers(), inMetadata(id)), id)
    t.equal(namedConversation(headers(toHeader(id)), request()), id)
  }
})

t.test('a header may be UTF-8, latin1 or percent-encoded', async (t) => {
  t.equal(namedConversation(bytes('chat é', 'utf8'), request()), 'chat é')
  t.equal(namedConversation(bytes('chat é', 'latin1'), request()), 'chat é')
  t.equal(namedConversation(headers('chat%20%C3%A9'), request()), 'chat é')
  t.equal(namedConversation(bytes('разговор 会话 🔑', 'utf8'), request()), 'разговор 会话 🔑')
})

t.test('an ASCII name goes out as it came in', async (t) => {
  for (const id of ['c1', 'a/b?c=d&e', '100%', 'order%2F7', '50%25', 'a%25b', 'a%20b', '%2520', '%', '~!@#$^*()']) {
    t.equal(toHeader(namedConversation(headers(id), request()) ?? ''), id)
  }
})

t.test('no two names have one header', async (t) => {
  t.not(toHeader('a b'), toHeader('a%20b'))
  t.not(toHeader('é'), toHeader('%C3%A9'))
  const unit = fc.constantFrom('%', '2', '5', '0', 'a', 'C', '3', 'A', '9', 'f', ' ', 'é', '🔑', 'x')
  const property = fc.property(fc.string({ unit, minLength: 1, maxLength: 20 }), (id) => {
    const header = toHeader(id)
    return /^[\x21-\x7e]+$/.test(header) && namedConversation(headers(header), request()) === id
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000 }))
})

t.test('what is no percent-encoding is taken as it is', async (t) => {
  for (const id of ['caf%E9', '%ff', '%C3', 'a%20b%ff']) {
    const named = namedConversation(headers(id), request()) ?? ''
    t.equal(named, id)
    t.equal(namedConversation(headers(toHeader(named)), request()), named)
  }
})
