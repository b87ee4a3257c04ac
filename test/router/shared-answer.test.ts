import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { SharedAnswer, type SharedAnswerOptions } from '../../src/router/shared-answer.ts'
import { GatewayError } from '../../src/server/errors.ts'
import type { CacheReport, CallOptions } from '../../src/types.ts'

interface Piece {
  n: number
}

/** Pieces 0, 1, …: so many, or for ever. Knows how many were made, and whether they were given up. */
function counting(count = Infinity) {
  const made = { pieces: 0, isLeft: false, call: {} as CallOptions }
  async function* make(call: CallOptions): AsyncGenerator<Piece> {
    made.call = call
    try {
      for (let n = 0; n < count; n++) {
        made.pieces++
        yield { n }
      }
    } finally {
      made.isLeft = true
    }
  }
  return { made, make }
}

/** An answer of pieces of 7 bytes. */
function sharing(make: SharedAnswerOptions<Piece>['make'], maxBytes = 1000) {
  const ends: string[] = []
  const answer = new SharedAnswer<Piece>({
    maxBytes,
    call: {},
    make,
    onClosed: () => ends.push('closed'),
    onWhole: (pieces) => ends.push(`whole: ${pieces.length}`),
  })
  return { answer, ends }
}

type Reader = ReturnType<SharedAnswer<Piece>['join']>

const numberOf = async (reader: Reader): Promise<number | undefined> => {
  const next = await reader.next()
  return next.done ? undefined : next.value.n
}

async function rest(reader: Reader): Promise<number[]> {
  const numbers: number[] = []
  for (let n = await numberOf(reader); n !== undefined; n = await numberOf(reader)) numbers.push(n)
  return numbers
}

t.test('all who join get all pieces, each at its own pace; it is made once', async (t) => {
  const { made, make } = counting(5)
  const { answer, ends } = sharing(make)
  const first = answer.join({})
  t.equal(await numberOf(first), 0)
  t.equal(await numberOf(first), 1)
  const second = answer.join({})
  t.strictSame(await rest(second), [0, 1, 2, 3, 4])
  t.strictSame(ends, ['whole: 5'])
  t.strictSame(await rest(first), [2, 3, 4])
  t.strictSame(await rest(answer.join({})), [0, 1, 2, 3, 4], 'and who comes when it is whole gets it, too')
  t.equal(made.pieces, 5)
  t.strictSame(ends, ['whole: 5'])
})

t.test('it is made as it is read: who stops reading stops the provider', async (t) => {
  const { made, make } = counting()
  const { answer } = sharing(make)
  const reader = answer.join({})
  await numberOf(reader)
  await new Promise(setImmediate)
  t.equal(made.pieces, 1)
  const slow = answer.join({})
  for (let n = 0; n < 10; n++) await numberOf(reader)
  t.equal(made.pieces, 11, 'the fastest decides')
  t.equal(await numberOf(slow), 0)
})

t.test('those who wait at once wait for one piece', async (t) => {
  const { made, make } = counting()
  const { answer } = sharing(make)
  const readers = [1, 2, 3].map(() => answer.join({}))
  t.strictSame(await Promise.all(readers.map(numberOf)), [0, 0, 0])
  t.equal(made.pieces, 1)
})

t.test('one too long is for those who are there; what all have read is not held', async (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage: () => void = runInNewContext('gc')
  const pieces: WeakRef<Piece>[] = []
  const { answer, ends } = sharing(async function* () {
    for (let n = 0; n < 1000; n++) {
      const piece = { n }
      pieces.push(new WeakRef(piece))
      yield piece
    }
  }, 100)
  const [one, two] = [answer.join({}), answer.join({})]
  for (let n = 0; n < 500; n++) t.strictSame([await numberOf(one), await numberOf(two)], [n, n])
  t.strictSame(ends, ['closed'])
  await new Promise(setImmediate)
  collectGarbage()
  t.ok(pieces.filter((piece) => piece.deref()).length < 20)
  t.match(await Promise.all([rest(one), rest(two)]), [{ length: 500 }, { length: 500 }])
  t.strictSame(ends, ['closed'])
})

t.test('who is far behind the others of one too long is told so, and they go on', async (t) => {
  const { make } = counting(1000)
  const { answer, ends } = sharing(make, 100)
  const [fast, slow] = [answer.join({}), answer.join({})]
  t.equal(await numberOf(slow), 0)
  t.equal((await rest(fast)).length, 1000)
  const error = await t.rejects(rest(slow), GatewayError)
  t.match(error, { code: 'response_interrupted', message: /too slowly/ })
  t.strictSame(ends, ['closed'])
})

t.test('one piece that alone is too long is for all who wait for it', async (t) => {
  const { answer } = sharing(async function* () {
    yield { n: 1, text: 'x'.repeat(1000) } as Piece
  }, 100)
  const readers = [1, 2, 3].map(() => answer.join({}))
  t.strictSame(await Promise.all(readers.map(rest)), [[1], [1], [1]])
})

t.test('it goes on until the last has left, and then ends at once', async (t) => {
  const { made, make } = counting()
  const { answer, ends } = sharing(make)
  const leaving = new AbortController()
  const first = answer.join({ signal: leaving.signal })
  const second = answer.join({})
  await numberOf(first)
  leaving.abort()
  await t.rejects(numberOf(first), { code: 'client_closed' })
  t.strictSame([await numberOf(second), await numberOf(second)], [0, 1])
  t.notOk(made.call.signal?.aborted)
  await second.return()
  t.ok(made.call.signal?.aborted)
  t.ok(made.isLeft)
  t.strictSame(ends, ['closed'])
  t.equal(await numberOf(second), undefined)
})

t.test('who waits and leaves is told at once, though the provider says nothing', async (t) => {
  const aborted = Promise.withResolvers<unknown>()
  const { answer, ends } = sharing(async function* ({ signal }) {
    await new Promise((resolve) => signal?.addEventListener('abort', resolve))
    aborted.resolve(signal?.reason)
    yield { n: 0 }
  })
  const leaving = new AbortController()
  const waiting = numberOf(answer.join({ signal: leaving.signal }))
  const reason = new GatewayError('shutting_down', 'enough')
  leaving.abort(reason)
  await t.rejects(waiting, { code: 'shutting_down' })
  t.equal(await aborted.promise, reason, 'and the provider for the same reason')
  t.strictSame(ends, ['closed'])
})

t.test('who has left before it joins begins nothing', async (t) => {
  const { made, make } = counting()
  const { answer, ends } = sharing(make)
  await t.rejects(numberOf(answer.join({ signal: AbortSignal.abort() })), { code: 'client_closed' })
  t.equal(made.pieces, 0)
  t.strictSame(ends, ['closed'])
})

t.test('a failure is told to all, after what came before it; nobody joins it', async (t) => {
  const { answer, ends } = sharing(async function* () {
    yield { n: 0 }
    throw new GatewayError('upstream_error', 'no')
  })
  const [one, two] = [answer.join({}), answer.join({})]
  t.equal(await numberOf(one), 0)
  await t.rejects(numberOf(one), { code: 'upstream_error' })
  t.strictSame(ends, ['closed'])
  t.equal(await numberOf(two), 0)
  await t.rejects(numberOf(two), { code: 'upstream_error' })
})

t.test('one is billed, and the next one when that one leaves', async (t) => {
  const { make } = counting()
  const { answer } = sharing(make)
  const reports: Record<string, CacheReport> = {}
  const heard = (name: string): CallOptions => ({
    onCache(report) {
      reports[name] = report
    },
  })
  const [a, b] = [answer.join(heard('a')), answer.join(heard('b'))]
  t.strictSame(reports, {}, 'nothing is known yet')
  answer.settle('miss')
  const c = answer.join(heard('c'))
  t.strictSame(reports, {
    a: { outcome: 'miss', isBilled: true },
    b: { outcome: 'shared', isBilled: false },
    c: { outcome: 'shared', isBilled: false },
  })
  await numberOf(a)
  await b.return()
  await a.return()
  t.match(reports, { a: { isBilled: false }, b: { isBilled: false }, c: { outcome: 'shared', isBilled: true } })
  await c.return()
  t.match(reports, { c: { isBilled: true } }, 'the last has to pay for what came')
})

t.test('nobody is billed for what was there, nor who comes when it is whole', async (t) => {
  const reports: CacheReport[] = []
  const call: CallOptions = { onCache: (report) => reports.push(report) }
  const kept = sharing(counting(1).make).answer
  kept.settle('hit')
  await rest(kept.join(call))
  const made = sharing(counting(1).make).answer
  made.settle('miss')
  await rest(made.join({}))
  await rest(made.join(call))
  t.strictSame(reports, [
    { outcome: 'hit', isBilled: false },
    { outcome: 'hit', isBilled: false },
  ])
})

t.test('all hear of warnings and of the target, whenever they join', async (t) => {
  const { answer } = sharing(async function* ({ onTarget, onWarning }) {
    onTarget?.({ provider: 'lab', model: 'small' })
    onWarning?.('early')
    yield { n: 0 }
    onWarning?.('late')
    yield { n: 1 }
  })
  const heard: string[][] = [[], []]
  const call = (n: number): CallOptions => ({
    onTarget: ({ provider, model }) => heard[n]?.push(`${provider}/${model}`),
    onWarning: (warning) => heard[n]?.push(warning),
  })
  const first = answer.join(call(0))
  await numberOf(first)
  const second = answer.join(call(1))
  await rest(first)
  await rest(second)
  t.strictSame(
    heard.map((list) => list.toSorted()),
    [
      ['early', 'lab/small', 'late'],
      ['early', 'lab/small', 'late'],
    ],
  )
  t.strictSame(answer.warnings, ['early', 'late'])
})

t.test('however they join, read and leave: who stays gets everything, in order, of one making', async () => {
  const step = fc.record({ reader: fc.nat({ max: 5 }), does: fc.constantFrom('join', 'read', 'read', 'read', 'leave') })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.nat({ max: 12 }),
      fc.constantFrom(30, 1000),
      async (steps, count, maxBytes) => {
        const { made, make } = counting(count)
        const { answer, ends } = sharing(make, maxBytes)
        const readers = new Map<
          number,
          { reader: Reader; read: Promise<number | undefined>[]; leaving: AbortController }
        >()
        for (const { reader: id, does } of steps) {
          const there = readers.get(id)
          if (does === 'read' && there) {
            const read = numberOf(there.reader)
            // Who leaves is told so, later.
            read.catch(() => {})
            there.read.push(read)
          } else if (does === 'leave') there?.leaving.abort()
          // Who comes to one that nobody may join makes one of its own.
          else if (!there && !ends.includes('closed')) {
            const leaving = new AbortController()
            readers.set(id, { reader: answer.join({ signal: leaving.signal }), read: [], leaving })
          }
          if (does !== 'read') await new Promise(setImmediate)
        }
        const all = [...readers.values()]
        await Promise.all(
          all.map(async ({ reader, read, leaving }) => {
            if (leaving.signal.aborted) return
            try {
              const numbers = [...(await Promise.all(read)), ...(await rest(reader))].filter((n) => n !== undefined)
              if (numbers.join() !== Array.from({ length: count }, (_, n) => n).join())
                throw new Error(`read ${numbers}`)
            } catch (error) {
              if (!(error instanceof GatewayError) || error.kind !== 'response_interrupted' || maxBytes > 30)
                throw error
            }
          }),
        )
        if (made.pieces > count) throw new Error(`${made.pieces} pieces were made of ${count}`)
        if (ends.length > 1) throw new Error(ends.join())
        const haveLeft = all.length > 0 && all.every(({ leaving }) => leaving.signal.aborted)
        if (haveLeft && ends[0] === undefined) throw new Error('all have left, and it goes on')
      },
    ),
    { numRuns: 300 },
  )
})
