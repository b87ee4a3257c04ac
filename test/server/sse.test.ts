import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { bodyOf } from '../../src/server/event-body.ts'
import { EventStream, type EventStreamOptions } from '../../src/server/sse.ts'
import { withSource } from '../../src/source.ts'

interface Item {
  n: number
}

/** What the stream told its owner, in order. */
type Log = string[]

function open(items: AsyncIterator<Item>, options: Partial<EventStreamOptions<Item>> = {}) {
  const log: Log = []
  const events = new EventStream<Item>(items, {
    keepAliveMs: 60_000,
    encode: (item) => item,
    onDone() {
      log.push('done')
      return ''
    },
    onError(error) {
      log.push(`error ${error instanceof Error ? error.message : error}`)
      return { error: { message: 'told to the client' } }
    },
    onCancel: (reason) => log.push(`cancel ${reason}`),
    ...options,
  })
  return { stream: bodyOf(events), log }
}

async function* count(to: number): AsyncGenerator<Item> {
  for (let n = 1; n <= to; n++) yield { n }
}

/** Items under the test's control. */
function manual() {
  let waiting: PromiseWithResolvers<IteratorResult<Item>> | undefined
  const source = {
    asked: 0,
    returned: 0,
    next() {
      source.asked++
      waiting = Promise.withResolvers()
      return waiting.promise
    },
    async return(): Promise<IteratorResult<Item>> {
      source.returned++
      return { done: true, value: undefined }
    },
    give: (n: number) => waiting?.resolve({ done: false, value: { n } }),
    end: () => waiting?.resolve({ done: true, value: undefined }),
  }
  return source
}

const textOf = (stream: ReadableStream<Uint8Array>): Promise<string> => new Response(stream).text()
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** The text of each piece, as it is read. */
function reading(stream: ReadableStream<Uint8Array>) {
  const pieces: string[] = []
  const decoder = new TextDecoder()
  const finished = (async () => {
    for await (const piece of stream) pieces.push(decoder.decode(piece))
  })()
  return { pieces, finished }
}

t.test('one event per item, then [DONE], exactly once', async (t) => {
  const { stream, log } = open(count(3))
  t.equal(await textOf(stream), 'data: {"n":1}\n\ndata: {"n":2}\n\ndata: {"n":3}\n\ndata: [DONE]\n\n')
  t.strictSame(log, ['done'])
})

t.test('every event is a piece of its own', async (t) => {
  const { pieces, finished } = reading(open(count(2)).stream)
  await finished
  t.strictSame(pieces, ['data: {"n":1}\n\n', 'data: {"n":2}\n\n', 'data: [DONE]\n\n'])
})

t.test('an item that was taken beforehand comes first', async (t) => {
  const items = count(2)
  const first = await items.next()
  t.equal(await textOf(open(items, { first }).stream), 'data: {"n":1}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n')
  const none = count(0)
  t.equal(await textOf(open(none, { first: await none.next() }).stream), 'data: [DONE]\n\n', 'also when it is the end')
})

t.test('text of any script arrives unharmed', async (t) => {
  const text = 'é 漢字 👩‍👩‍👧 \u2028 \n\n data: x'
  const { stream } = open(count(1), { encode: () => ({ text }) })
  const body = await textOf(stream)
  const [event] = body.split('\n\n')
  t.strictSame(JSON.parse(event?.slice('data: '.length) ?? ''), { text })
})

t.test('what an upstream sent goes out as it came, on one line', async (t) => {
  for (const [text, sent] of [
    ['{"n":1.0,  "x":"\\u00e9"}', '{"n":1.0,  "x":"\\u00e9"}'],
    ['{"n":\n1.0}', '{"n":1}'],
  ] as const) {
    const { stream } = open(count(1), { encode: () => withSource(JSON.parse(text), text) })
    t.equal(await textOf(stream), `data: ${sent}\n\ndata: [DONE]\n\n`)
  }
})

t.test('items that encode to nothing are left out', async (t) => {
  const { stream } = open(count(4), { encode: (item) => (item.n % 2 ? undefined : item) })
  t.equal(await textOf(stream), 'data: {"n":2}\n\ndata: {"n":4}\n\ndata: [DONE]\n\n')
})

t.test('the owner hears of the end before the client does', async (t) => {
  const order: string[] = []
  const onDone = (): string => {
    order.push('owner')
    return ''
  }
  const { stream } = open(count(1), { onDone })
  for await (const piece of stream) if (String(Buffer.from(piece)).includes('[DONE]')) order.push('client')
  t.strictSame(order, ['owner', 'client'])
})

t.test('what the owner has to say at the end is a comment before the terminal event', async (t) => {
  const { stream } = open(count(1), { onDone: () => 'warning "late"' })
  t.equal(await textOf(stream), 'data: {"n":1}\n\n: warning "late"\n\ndata: [DONE]\n\n')
})

t.test('items that break off end in an error event, and no [DONE]', async (t) => {
  async function* broken(): AsyncGenerator<Item> {
    yield { n: 1 }
    throw new Error('broke off')
  }
  const { stream, log } = open(broken())
  t.equal(await textOf(stream), 'data: {"n":1}\n\ndata: {"error":{"message":"told to the client"}}\n\n')
  t.strictSame(log, ['error broke off'])
})

t.test('an item that cannot be encoded is a failure like any other, and the items are closed', async (t) => {
  let closed = false
  async function* endless(): AsyncGenerator<Item> {
    try {
      for (let n = 1; ; n++) yield { n }
    } finally {
      closed = true
    }
  }
  const { stream, log } = open(endless(), {
    encode(item) {
      if (item.n === 2) throw new Error('cannot encode')
      return item
    },
  })
  t.equal(await textOf(stream), 'data: {"n":1}\n\ndata: {"error":{"message":"told to the client"}}\n\n')
  t.strictSame(log, ['error cannot encode'])
  t.ok(closed, 'nobody else would stop the upstream')
})

t.test('nothing is asked for before the client reads', async (t) => {
  const items = manual()
  const { stream } = open(items)
  await nextTurn()
  t.equal(items.asked, 0)

  const reader = stream.getReader()
  const read = reader.read()
  await nextTurn()
  t.equal(items.asked, 1)
  items.give(1)
  t.equal(String(Buffer.from((await read).value ?? [])), 'data: {"n":1}\n\n')
  await nextTurn()
  t.equal(items.asked, 1, 'nor the second before it reads on')
  await reader.cancel()
})

t.test('a client that leaves', async (t) => {
  t.test('between two items: the owner is told and the items are closed', async (t) => {
    const items = manual()
    const { stream, log } = open(items)
    const reader = stream.getReader()
    const read = reader.read()
    await nextTurn()
    items.give(1)
    await read
    await reader.cancel('gone')
    t.strictSame(log, ['cancel gone'])
    t.equal(items.returned, 1)
    t.equal(items.asked, 1)
  })

  t.test('while an item is awaited: the owner hears nothing more, whatever becomes of it', async (t) => {
    for (const outcome of ['give', 'end'] as const) {
      const items = manual()
      const { stream, log } = open(items)
      const reader = stream.getReader()
      const read = reader.read()
      await nextTurn()
      await reader.cancel('gone')
      t.match(await read, { done: true })
      items[outcome](1)
      await nextTurn()
      t.strictSame(log, ['cancel gone'], outcome)
      t.equal(items.returned, 1)
    }
  })

  t.test('before anything was read', async (t) => {
    const items = manual()
    const { stream, log } = open(items)
    await stream.cancel('gone')
    t.strictSame(log, ['cancel gone'])
    t.equal(items.asked, 0)
    t.equal(items.returned, 1)
  })

  t.test('and items that cannot be closed are left alone', async (t) => {
    const { stream, log } = open({ next: async () => ({ done: false, value: { n: 1 } }) })
    await stream.cancel('gone')
    t.strictSame(log, ['cancel gone'])
  })
})

t.test('keep-alive comments', async (t) => {
  const keepAliveMs = 40
  const comment = ': keep-alive\n\n'

  /** Passes when a timer of the same period, started now, has run so many times, and a little later. */
  const periods = async (count: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let passed = 0
    const timer = setInterval(() => ++passed === count && resolve(), keepAliveMs)
    await promise
    clearInterval(timer)
    await sleep(keepAliveMs / 2)
  }

  t.test('go out at once when the wait for the first item was long, and then in every period of silence', async (t) => {
    const items = manual()
    const started = performance.now()
    const { pieces, finished } = reading(open(items, { keepAliveMs, keepAliveNow: true }).stream)
    await nextTurn()
    t.strictSame(pieces, [comment])
    await periods(4)
    const comments = pieces.length
    const elapsed = (performance.now() - started) / keepAliveMs
    t.strictSame(pieces, new Array(comments).fill(comment))
    t.ok(comments >= 5 && comments <= elapsed + 1, `${comments} comments in ${elapsed} periods`)
    items.give(1)
    await nextTurn()
    items.end()
    await finished
    t.strictSame(pieces.slice(-2), ['data: {"n":1}\n\n', 'data: [DONE]\n\n'])
  })

  t.test('start with the first period in which nothing else has gone out', async (t) => {
    const items = manual()
    const { pieces, finished } = reading(open(items, { keepAliveMs }).stream)
    await nextTurn()
    t.strictSame(pieces, [])
    await periods(2)
    t.ok(pieces.length >= 2, `${pieces.length} comments in two periods`)
    items.end()
    await finished
  })

  t.test('stay away from a stream that speaks', async (t) => {
    async function* steady(): AsyncGenerator<Item> {
      for (let n = 1; n <= 40; n++) {
        await sleep(10)
        yield { n }
      }
    }
    t.notMatch(await textOf(open(steady(), { keepAliveMs: 300 }).stream), 'keep-alive')
  })

  t.test('do not pile up for a client that does not read', async (t) => {
    const items = manual()
    const { stream } = open(items, { keepAliveMs })
    await periods(8)
    const { pieces, finished } = reading(stream)
    await nextTurn()
    t.ok(pieces.length <= 2, `${pieces.length} comments after eight periods`)
    items.end()
    await finished
  })

  t.test('stop with the stream', async (t) => {
    const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
    for (const end of ['end', 'cancel'] as const) {
      const before = timers()
      const items = manual()
      const { stream } = open(items, { keepAliveMs, keepAliveNow: true })
      const reader = stream.getReader()
      await reader.read()
      const read = reader.read()
      await nextTurn()
      if (end === 'end') items.end()
      else await reader.cancel()
      await read
      t.equal(timers(), before, end)
    }
  })
})

t.test('named events carry their type, and nothing follows the last one', async (t) => {
  async function* events() {
    yield { n: 1, type: 'made' }
    yield { n: 2, type: 'done' }
  }
  const { stream, log } = open(events(), { named: true })
  t.equal(
    await textOf(stream),
    'event: made\ndata: {"n":1,"type":"made"}\n\nevent: done\ndata: {"n":2,"type":"done"}\n\n',
  )
  t.strictSame(log, ['done'])
})

t.test('events can be numbered, the end too', async (t) => {
  const numbered = { firstId: 7, isLast: () => false }
  const { stream } = open(count(2), { numbered })
  t.equal(await textOf(stream), 'id: 7\ndata: {"n":1}\n\nid: 8\ndata: {"n":2}\n\nid: 9\ndata: [DONE]\n\n')
  async function* broken() {
    yield { n: 1 }
    throw new Error('broken')
  }
  t.equal(
    await textOf(open(broken(), { numbered }).stream),
    'id: 7\ndata: {"n":1}\n\ndata: {"error":{"message":"told to the client"}}\n\n',
    'but not what broke off here only',
  )
})

t.test('nothing follows a last event, not even [DONE]', async (t) => {
  const items = count(3)
  const { stream, log } = open(items, { numbered: { firstId: 1, isLast: (event) => 'n' in event && event.n === 2 } })
  t.equal(await textOf(stream), 'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\n')
  t.strictSame(log, [])
  t.match(await items.next(), { done: true }, 'the items are closed')
})

t.test('items that fail as they are closed are no trouble for anybody: the client has gone', async (t) => {
  const items = manual()
  items.return = () => Promise.reject(new Error('too late'))
  const { stream, log } = open(items)
  await stream.cancel('left')
  t.strictSame(log, ['cancel left'])
})
