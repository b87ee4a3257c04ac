import fc from 'fast-check'
import t from 'tap'
import { type ChatMessage, ConversationHistory } from '../../src/index.ts'
import { parseJSON } from '../../src/json.ts'

const user = (content: string): ChatMessage => ({ role: 'user', content })
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content })
const call = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'look', arguments: '{"at":"é"}' } })),
})
const result = (tool_call_id: string): ChatMessage => ({ role: 'tool', tool_call_id, content: `of ${tool_call_id}` })

/** Every kind of message that OpenAI's format has, with fields that this version does not know. */
const everyKind: ChatMessage[] = [
  { role: 'developer', content: 'be brief', name: 'ops' },
  { role: 'system', content: [{ type: 'text', text: 'be kind' }] },
  {
    role: 'user',
    content: [
      { type: 'text', text: 'what is this? 🔑' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } },
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
      { type: 'file', file: { file_id: 'file-1' } },
    ],
  },
  { role: 'assistant', content: null, refusal: 'I cannot', audio: { id: 'audio_1' } },
  { role: 'assistant', content: 'done', reasoning_content: 'first …' },
  { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] },
  call('a', 'b'),
  result('a'),
  { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'of b' }] },
  {
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'run', input: 'ls' } }],
  },
  result('c'),
  { role: 'assistant', content: null, function_call: { name: 'old', arguments: '{}' } },
  { role: 'function', name: 'old', content: null },
  {
    role: 'user',
    content: '',
    name: '',
    cache_control: { type: 'ephemeral' },
    future: [null, { x: 0.1 }],
  } as ChatMessage,
]

t.test('messages are kept in the order in which they were appended', async (t) => {
  const history = new ConversationHistory([user('1')])
  history.append(assistant('2'), user('3')).append(assistant('4'))
  t.strictSame(history.messages, [user('1'), assistant('2'), user('3'), assistant('4')])
  t.strictSame(new ConversationHistory().messages, [])
})

t.test('nothing of a message is lost', async (t) => {
  t.test('of any kind, unknown fields included', async (t) => {
    const history = new ConversationHistory(everyKind)
    t.strictSame(history.messages, everyKind)
    t.strictSame(ConversationHistory.import(history.export()).messages, everyKind)
    t.strictSame(ConversationHistory.import(JSON.parse(JSON.stringify(history.export()))).messages, everyKind)
  })

  t.test('the order of its fields included', async (t) => {
    const message = { content: 'x', zeta: 1, role: 'user', alpha: 2 } as ChatMessage
    t.equal(JSON.stringify(new ConversationHistory([message]).messages[0]), JSON.stringify(message))
  })

  t.test('numbers that a double cannot hold included', async (t) => {
    const text = '{"role":"user","content":"x","seed":12345678901234567890}'
    const history = new ConversationHistory([parseJSON(text) as ChatMessage])
    t.equal(JSON.stringify(history.fork().export().messages[0]), text)
  })

  t.test('whatever it holds', async (t) => {
    const message = fc
      .tuple(fc.constantFrom('user', 'assistant', 'critic'), fc.dictionary(fc.string(), fc.jsonValue()))
      .map(([role, fields]) => ({ ...fields, role }) as unknown as ChatMessage)
    const property = fc.property(fc.array(message), (messages) => {
      const text = JSON.stringify(new ConversationHistory(messages).export())
      const again = JSON.stringify(ConversationHistory.import(JSON.parse(text)).export())
      return text === again && text === JSON.stringify({ version: 1, messages })
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
  })
})

t.test('nobody changes what is inside', async (t) => {
  t.test('by an object that was appended', async (t) => {
    const part = { type: 'text' as const, text: 'before' }
    const message = { role: 'user' as const, content: [part] }
    const history = new ConversationHistory().append(message)
    part.text = 'after'
    message.content.push({ type: 'text', text: 'more' })
    t.strictSame(history.messages, [{ role: 'user', content: [{ type: 'text', text: 'before' }] }])
  })

  t.test('by an object that was imported', async (t) => {
    const snapshot = { version: 1, messages: [{ role: 'user', content: 'before' }] }
    const history = ConversationHistory.import(snapshot)
    for (const message of snapshot.messages) message.content = 'after'
    snapshot.messages.length = 0
    t.strictSame(history.messages, [user('before')])
  })

  t.test('by the messages that are read', async (t) => {
    const history = new ConversationHistory([{ role: 'user', content: [{ type: 'text', text: 'before' }] }])
    const [message] = history.messages
    t.throws(() => Object.assign(message ?? {}, { content: 'after' }), TypeError)
    t.throws(() => Object.assign(message?.content?.[0] ?? {}, { text: 'after' }), TypeError)
    t.throws(() => (history.messages as ChatMessage[]).push(user('more')), TypeError)
    t.strictSame(history.messages, [{ role: 'user', content: [{ type: 'text', text: 'before' }] }])
  })

  t.test('by an export, which the caller may extend as it likes', async (t) => {
    const history = new ConversationHistory([user('1')])
    const snapshot = history.export()
    snapshot.messages.push(user('2'))
    Object.assign(snapshot, { _id: 'of a database' })
    t.strictSame(history.export(), { version: 1, messages: [user('1')] })
    history.append(user('3'))
    t.strictSame(snapshot.messages, [user('1'), user('2')], 'nor does the history change the export')
  })
})

t.test('a fork goes its own way', async (t) => {
  const history = new ConversationHistory([user('1')])
  const fork = history.fork()
  history.append(assistant('here'))
  fork.append(assistant('there'))
  t.strictSame(history.messages, [user('1'), assistant('here')])
  t.strictSame(fork.messages, [user('1'), assistant('there')])
  history.fork().truncate({ maxMessages: 1 })
  t.equal(history.messages.length, 2)
})

t.test('an import refuses what it does not understand, and says what', async (t) => {
  const refused: [snapshot: unknown, reason: string][] = [
    [undefined, 'a conversation snapshot must be an object'],
    [null, 'a conversation snapshot must be an object'],
    ['{"version":1,"messages":[]}', 'a conversation snapshot must be an object'],
    [[user('1')], 'a conversation snapshot must be an object'],
    [{ messages: [] }, 'conversation snapshot version undefined is not known; it must be 1'],
    [{ version: 2, messages: [] }, 'conversation snapshot version 2 is not known; it must be 1'],
    [{ version: '1', messages: [] }, 'conversation snapshot version "1" is not known; it must be 1'],
    [{ version: 1 }, 'a conversation snapshot must have a list of messages'],
    [{ version: 1, messages: { 0: user('1') } }, 'a conversation snapshot must have a list of messages'],
    [{ version: 1, messages: [user('1'), { content: 'x' }] }, 'message 1 must be an object with a role'],
    [{ version: 1, messages: [{ role: '' }] }, 'message 0 must be an object with a role'],
    [{ version: 1, messages: [{ role: 7 }] }, 'message 0 must be an object with a role'],
    [{ version: 1, messages: [null] }, 'message 0 must be an object with a role'],
    [{ version: 1, messages: ['hi'] }, 'message 0 must be an object with a role'],
    [{ version: 1, messages: [[user('1')]] }, 'message 0 must be an object with a role'],
    [{ version: 1, messages: new Array(1) }, 'message 0 must be an object with a role'],
  ]
  for (const [snapshot, reason] of refused) {
    t.throws(() => ConversationHistory.import(snapshot), new TypeError(reason), JSON.stringify(snapshot))
  }
  t.strictSame(ConversationHistory.import({ version: 1, messages: [] }).messages, [], 'an empty one is understood')
})

t.test('an import takes hostile input for what it is', async (t) => {
  const importOf = (message: string): ConversationHistory =>
    ConversationHistory.import(JSON.parse(`{"version":1,"messages":[${message}]}`))
  const nested = (depth: number): string => `{"role":"user","content":${'['.repeat(depth)}${']'.repeat(depth)}}`

  t.test('names of what every object has are names', async (t) => {
    const message = '{"role":"user","content":[{"__proto__":{"x":1},"constructor":null}],"__proto__":{"role":"system"}}'
    const history = importOf(message)
    t.equal(JSON.stringify(history.messages[0]), message)
    t.equal(history.messages[0]?.role, 'user')
    t.equal(({} as { x?: number }).x, undefined)
    const proto: unknown = Object.getOwnPropertyDescriptor(history.messages[0], '__proto__')?.value
    t.strictSame([proto, Object.isFrozen(proto)], [{ role: 'system' }, true])
  })

  t.test('a role is one of its own', async (t) => {
    t.throws(() => importOf('{"__proto__":{"role":"user"}}'), new TypeError('message 0 must be an object with a role'))
  })

  t.test('as deep as the gateway takes it, and not much deeper', async (t) => {
    t.equal(JSON.stringify(importOf(nested(128)).messages[0]), nested(128))
    for (const depth of [2000, 1_000_000]) {
      t.throws(() => importOf(nested(depth)), /^message 0 is no JSON: it contains itself, or is nested too deeply$/)
    }
  })

  t.test('a message that contains itself, or what JSON has no text for', async (t) => {
    const cycle: { role: string; self?: unknown } = { role: 'user' }
    cycle.self = cycle
    const dated = Object.assign(new Date(), { role: 'user', cycle })
    const functions = { role: 'user', toJSON: () => undefined }
    for (const [message, reason] of [
      [cycle, /^message 0 is no JSON: it contains itself/],
      [{ role: 'user', content: { at: new Map(), cycle } }, /^message 0 is no JSON: /],
      [{ role: 'user', content: 1n }, /^message 0 is no JSON: .*BigInt/],
      [dated, /^message 0 must be an object with a role$/],
      [functions, /^message 0 must be an object with a role$/],
    ] as const) {
      t.throws(() => ConversationHistory.import({ version: 1, messages: [message] }), {
        name: 'TypeError',
        message: reason,
      })
    }
  })

  t.test('a message of 10 MB at once, since its text is not copied', async (t) => {
    const snapshot = { version: 1, messages: [user('é'.repeat(10_000_000))] }
    const [message] = ConversationHistory.import(snapshot).export().messages
    t.strictSame(message, snapshot.messages[0])
    // Copied, it would take longer than the test may.
    for (let n = 0; n < 5000; n++) ConversationHistory.import(snapshot).export()
  })

  t.test('a version is quoted in short', async (t) => {
    t.throws(
      () => ConversationHistory.import({ version: 'x'.repeat(1_000_000), messages: [] }),
      new TypeError(`conversation snapshot version "${'x'.repeat(39)} is not known; it must be 1`),
    )
  })
})

t.test('append takes all of its messages or none', async (t) => {
  const history = new ConversationHistory([user('1')])
  const nameless = { content: 'x' } as unknown as ChatMessage
  t.throws(() => history.append(user('2'), nameless), new TypeError('message 1 must be an object with a role'))
  t.strictSame(history.messages, [user('1')])
})

t.test('a long conversation is no trouble', async (t) => {
  const messages = Array.from({ length: 200_000 }, (_, n) => user(String(n)))
  const history = ConversationHistory.import({ version: 1, messages })
  t.equal(history.truncate({ maxMessages: 150_000 }).messages.length, 150_000)
})

t.test('truncate changes the history by its limits', async (t) => {
  const history = new ConversationHistory([user('1'), call('a'), result('a'), assistant('2'), user('3')])
  t.equal(history.truncate({ maxMessages: 3 }), history)
  t.strictSame(history.messages, [user('3')], 'a turn goes as a whole')
  t.throws(() => (history.messages as ChatMessage[]).pop(), TypeError, 'and what stays is as protected as before')
  const long = new ConversationHistory([user('x'.repeat(4000)), user('y')])
  t.strictSame(long.truncate({ maxTokens: 500 }).messages, [user('y')])
})

t.test('a limit that is none is refused', async (t) => {
  const history = new ConversationHistory([user('1')])
  for (const none of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(
      () => history.truncate({ maxMessages: none }),
      new RangeError(`maxMessages must be a positive integer, not ${none}`),
    )
    t.throws(
      () => history.truncate({ maxTokens: none }),
      new RangeError(`maxTokens must be a positive integer, not ${none}`),
    )
  }
  t.throws(() => history.truncate({} as { maxTokens: number }), new RangeError('give maxTokens or maxMessages'))
})

t.test('tokens are estimated over all messages', async (t) => {
  const history = new ConversationHistory([user('x'.repeat(400))])
  const one = history.estimateTokens()
  t.ok(one >= 100 && one < 120, String(one))
  t.equal(history.append(user('x'.repeat(400))).estimateTokens(), 2 * one)
  t.equal(new ConversationHistory().estimateTokens(), 0)
})
