import t from 'tap'
import { type LLMClient, plan } from '../../src/index.ts'
import { Candidate } from '../../src/router/candidate.ts'
import { fastest } from '../../src/router/choose-latency.ts'
import { leastBusy } from '../../src/router/choose-least-busy.ts'
import { staying } from '../../src/router/choose-sticky.ts'
import { Pace } from '../../src/router/pace.ts'
import { fake, listening, request } from './clients.ts'

const candidate = (name: string, weight = 1): Candidate => new Candidate(fake(name).client, weight, 0, name)
const asked = (conversationId?: string, userId: string | null = null, fields: object = {}) => ({
  operation: 'whole' as const,
  request: { ...request, ...fields },
  call: { userId, ...(conversationId === undefined ? {} : { conversationId }) },
})
const neither = (): Candidate => candidate('of the other choice')
/** Which of them each of many conversations goes to. */
const homes = (candidates: [Candidate, ...Candidate[]], count = 4000): string[] => {
  const choice = staying('conversation', neither)
  return Array.from({ length: count }, (_, n) => choice(candidates, asked(`conversation ${n}`)).name)
}

t.test('a conversation has one home, whoever is asked and in whichever order the targets are', async (t) => {
  const names = ['a', 'b', 'c']
  const [a, b, c] = names.map((name) => candidate(name)) as [Candidate, Candidate, Candidate]
  const [b2, c2, a2] = ['b', 'c', 'a'].map((name) => candidate(name)) as [Candidate, Candidate, Candidate]
  t.strictSame(homes([a, b, c]), homes([b2, c2, a2]))
  t.strictSame([...new Set(homes([a, b, c]))].sort(), names)
})

t.test('homes are shared out by weight', async (t) => {
  const count = 4000
  const seen = homes([candidate('a', 3), candidate('b'), candidate('c')], count)
  for (const [name, share] of Object.entries({ a: 3 / 5, b: 1 / 5, c: 1 / 5 })) {
    const times = seen.filter((other) => other === name).length
    t.ok(Math.abs(times - count * share) < 7 * Math.sqrt(count * share * (1 - share)), `${times} of ${name}`)
  }
})

t.test('a target that goes moves only its own conversations, and one that comes takes only its share', async (t) => {
  const [a, b, c] = [candidate('a'), candidate('b', 2), candidate('c')]
  const before = homes([a, b, c])
  const after = homes([a, c])
  const moved = before.filter((home, index) => after[index] !== home)
  t.strictSame([...new Set(moved)], ['b'])
  t.equal(moved.length, before.filter((home) => home === 'b').length)
  const heavier = homes([a, candidate('b', 4), c])
  const taken = heavier.filter((home, index) => before[index] !== home)
  t.strictSame([...new Set(taken)], ['b'], 'more weight only takes from others')
})

t.test('conversations are their users own; prompt_cache_key is one, too; the rest is chosen otherwise', async (t) => {
  const targets = Array.from({ length: 50 }, (_, n) => candidate(`${n}`)) as [Candidate, ...Candidate[]]
  const byConversation = staying('conversation', neither)
  const home = (...what: Parameters<typeof asked>): string => byConversation(targets, asked(...what)).name
  const users = new Set(Array.from({ length: 20 }, (_, n) => home('c1', `user ${n}`)))
  t.ok(users.size > 5)
  const cached = Array.from({ length: 20 }, () => home(undefined, 'u', { prompt_cache_key: 'k' }))
  t.equal(new Set(cached).size, 1)
  t.ok(new Set(Array.from({ length: 20 }, (_, n) => home(undefined, 'u', { prompt_cache_key: `k${n}` }))).size > 5)
  for (const nothing of [home(undefined, 'u'), home('', 'u'), home(undefined, 'u', { prompt_cache_key: null })]) {
    t.equal(nothing, 'of the other choice')
  }
  const byUser = staying('user', neither)
  const ofUser = (...what: Parameters<typeof asked>): string => byUser(targets, asked(...what)).name
  t.equal(ofUser('c1', 'ann'), ofUser('c2', 'ann'))
  t.equal(ofUser('c1', null), 'of the other choice')
  t.equal(staying('none', neither), neither)
})

t.test('by default conversations stay where weights choose, and not where something else does', async (t) => {
  const counts = async (client: LLMClient): Promise<number> => {
    const { call, chosen } = listening({ conversationId: 'c1', userId: 'u' })
    for (let n = 0; n < 60; n++) await client.complete(request, call)
    return new Set(chosen).size
  }
  const targets = ['a', 'b', 'c'].map((name) => ({ client: fake(name).client }))
  t.equal(await counts(plan({ targets })), 1)
  t.equal(await counts(plan({ targets, sticky: 'none' })), 3)
  t.equal(await counts(plan({ targets, choose: 'least-busy' })), 3)
  t.equal(await counts(plan({ targets, choose: 'least-busy', sticky: 'conversation' })), 1)
})

t.test('a conversation comes home when its target does', async (t) => {
  const targets = [fake('a'), fake('b'), fake('c')]
  const client = plan({ targets: targets.map(({ client }) => ({ client })) })
  const { call, chosen } = listening({ conversationId: 'c7' })
  await client.complete(request, call)
  const home = targets.find(({ client }) => client.provider === chosen[0])
  home?.close(1)
  for (let n = 0; n < 10; n++) await client.complete(request, call)
  t.not(chosen[1], chosen[0])
  t.equal(new Set(chosen.slice(1)).size, 1, 'it has one second home')
  home?.close()
  await client.complete(request, call)
  t.equal(chosen.at(-1), chosen[0])
})

t.test('least busy: the fewest open requests for the weight', async (t) => {
  const [light, heavy] = [candidate('light'), candidate('heavy', 3)]
  const chosen: string[] = []
  const open = Array.from({ length: 8 }, () => {
    const next = leastBusy([light, heavy], asked())
    chosen.push(next.name)
    return { ...next.visit('whole'), next }
  })
  t.equal(chosen.filter((name) => name === 'heavy').length, 6)
  t.strictSame([light.inFlight, heavy.inFlight], [2, 6])
  for (const { next, over } of open) {
    if (next === heavy) over()
    over()
  }
  t.strictSame([light.inFlight, heavy.inFlight], [0, 0], 'each is over once')
})

t.test('least busy: a stream is open until it ends, breaks, or is left', async (t) => {
  const [a, b] = [fake('a'), fake('b')]
  const client = plan({ targets: [{ client: a.client }, { client: b.client }], choose: 'least-busy' })
  const next = async (): Promise<string | undefined> => {
    const { call, chosen } = listening()
    await client.complete(request, call)
    return chosen[0]
  }
  const open = async (options = {}) => {
    const { call, chosen } = listening(options)
    const stream = client.stream(request, call)[Symbol.asyncIterator]()
    await stream.next()
    const others = new Set<string | undefined>()
    for (let n = 0; n < 12; n++) others.add(await next())
    t.strictSame([...others], [chosen[0] === 'a' ? 'b' : 'a'], 'while it is open, the other is asked')
    return stream
  }
  const both = async (how: string): Promise<void> => {
    const seen = new Set<string | undefined>()
    for (let n = 0; n < 60; n++) seen.add(await next())
    t.equal(seen.size, 2, how)
  }
  const ended = await open()
  while (!(await ended.next()).done);
  await both('it has ended')
  await (await open()).return?.()
  await both('it was left')
  const controller = new AbortController()
  await open({ signal: controller.signal })
  controller.abort()
  await both('its client has gone')
})

t.test('pace: a moving mean, of each kind of waiting', async (t) => {
  let now = 0
  const pace = new Pace(() => now)
  const took = (ms: number, operation: 'stream' | 'whole' = 'whole'): void => {
    const waiting = pace.begin(operation)
    now += ms
    waiting.answered()
  }
  t.equal(pace.expected('whole'), undefined)
  took(100)
  t.equal(pace.expected('whole'), 100)
  t.equal(pace.expected('stream'), undefined)
  took(200)
  t.equal(pace.expected('whole'), 120)
  for (let n = 0; n < 40; n++) took(500)
  t.ok(Math.abs((pace.expected('whole') ?? 0) - 500) < 1)
})

t.test('pace: failures, and waits that are much longer than usual, count', async (t) => {
  let now = 0
  const pace = new Pace(() => now)
  const begin = () => pace.begin('stream')
  begin().failed()
  t.equal(pace.expected('stream'), 2000, 'of one that has never answered')
  const first = begin()
  now += 100
  first.answered()
  t.equal(pace.expected('stream'), 100)
  begin().failed()
  begin().failed()
  t.equal(pace.expected('stream'), 400)
  for (let n = 0; n < 100; n++) begin().failed()
  t.ok((pace.expected('stream') ?? 0) <= 6400)
  begin().left()
  const again = begin()
  again.answered()
  t.ok((pace.expected('stream') ?? 0) <= 100, 'an answer makes up for them')
  again.failed()
  t.ok((pace.expected('stream') ?? 0) <= 100, 'each tells once')
  const [hanging, later] = [begin(), begin()]
  now += 3000
  t.equal(pace.expected('stream'), 1000)
  hanging.left()
  later.left()
  t.ok((pace.expected('stream') ?? 0) <= 100)
})

t.test('latency: the fastest gets nearly all, and the others a little', async (t) => {
  let now = 0
  const timed = (name: string): Candidate => Object.assign(candidate(name), { pace: new Pace(() => now) })
  const [fast, slow] = [timed('fast'), timed('slow')]
  const counts = { fast: 0, slow: 0 }
  const send = (ms: Record<string, number>): void => {
    const chosen = fastest([slow, fast], asked())
    counts[chosen.name as 'fast' | 'slow']++
    const visit = chosen.visit('whole')
    now += ms[chosen.name] ?? 0
    visit.answered()
    visit.over()
  }
  for (let n = 0; n < 2000; n++) send({ fast: 100, slow: 300 })
  // Explored: 5 %, of which half go to each; seven standard deviations.
  t.ok(counts.slow > 0 && counts.slow < 50 + 7 * Math.sqrt(50), `${counts.slow} of 2000`)
  Object.assign(counts, { fast: 0, slow: 0 })
  for (let n = 0; n < 2000; n++) send({ fast: 900, slow: 300 })
  t.ok(counts.slow > 1000, 'who was fast is found out')
})

t.test('latency: one of which nothing is known is tried with one request at a time', async (t) => {
  const [known, unknown] = [candidate('known'), candidate('unknown')]
  const visit = known.visit('whole')
  visit.answered()
  visit.over()
  t.equal(fastest([known, unknown], asked()), unknown)
  const trial = unknown.visit('whole')
  const next = Array.from({ length: 200 }, () => fastest([known, unknown], asked()).name)
  t.ok(next.filter((name) => name === 'known').length > 150)
  trial.failed()
  trial.over()
  const after = Array.from({ length: 200 }, () => fastest([known, unknown], asked()).name)
  t.ok(after.filter((name) => name === 'known').length > 150, 'one that fails is not asked again and again')
})
