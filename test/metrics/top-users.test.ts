import t from 'tap'
import { Exposition } from '../../src/metrics/exposition.ts'
import { TopUsers } from '../../src/metrics/top-users.ts'
import { samplesIn } from '../scrape.ts'

/** Input tokens by user, as they are shown. */
async function shown(users: TopUsers): Promise<Record<string, number>> {
  const { text } = await new Exposition(users.metrics).scrape()
  const tokens = samplesIn(text).filter(
    ({ name, labels }) => name === 'signalbox_user_tokens_total' && labels.gen_ai_token_type === 'input',
  )
  return Object.fromEntries(tokens.map(({ labels, value }) => [labels.user, value]))
}

t.test('tokens and cost of each', async (t) => {
  const users = new TopUsers(2)
  users.add('ann', 10, 5, 0.5)
  users.add('ann', 1, 0, 0.25)
  const samples = samplesIn((await new Exposition(users.metrics).scrape()).text)
  t.strictSame(
    samples.map(({ name, labels, value }) => [name, labels, value]),
    [
      ['signalbox_user_tokens_total', { user: 'ann', gen_ai_token_type: 'input' }, 11],
      ['signalbox_user_tokens_total', { user: 'ann', gen_ai_token_type: 'output' }, 5],
      ['signalbox_user_cost_usd_total', { user: 'ann' }, 0.75],
    ],
  )
})

t.test('nobody, and the others, have names that no user can have', async (t) => {
  const users = new TopUsers(4)
  for (const id of [null, '_anonymous', '_other', '__other']) users.add(id, 1, 0, 0)
  users.add('one too many', 1, 0, 0)
  t.strictSame(await shown(users), { _anonymous: 1, __anonymous: 1, __other: 1, ___other: 1, _other: 1 })
})

t.test('who uses twice as much as the least of the top takes the place, from 0 on', async (t) => {
  const users = new TopUsers(2)
  users.add('ann', 100, 0, 0)
  users.add('bob', 10, 0, 0)
  users.add('cyd', 20, 0, 0)
  t.strictSame(await shown(users), { ann: 100, bob: 10, _other: 20 })
  users.add('cyd', 1, 0, 0)
  t.strictSame(await shown(users), { ann: 100, cyd: 1, _other: 20 })
  users.add('bob', 5, 0, 0)
  t.strictSame(await shown(users), { ann: 100, cyd: 1, _other: 25 }, 'who is overtaken is one of the others')
})

t.test('no counter ever goes down, except for one that was gone in between', async (t) => {
  const users = new TopUsers(3)
  let before: Record<string, number> = {}
  let changes = 0
  const wrong: string[] = []
  for (let n = 0; n < 500; n++) {
    users.add(`user ${Math.floor(n / 7) % 20}`, n, 0, 0)
    const now = await shown(users)
    if (Object.keys(now).length > 4) wrong.push(`${Object.keys(now)} are too many`)
    for (const [user, value] of Object.entries(before)) {
      const next = now[user]
      if (next === undefined) changes++
      else if (next < value) wrong.push(`${user} went from ${value} to ${next}`)
    }
    before = now
  }
  t.strictSame(wrong, [])
  t.ok(changes > 0, 'some were overtaken')
})

t.test('who used much long ago makes room', async (t) => {
  const time = { now: 0 }
  t.intercept(performance, 'now', { value: () => time.now })
  const users = new TopUsers(1)
  users.add('ann', 1000, 0, 0)
  for (let hour = 1; hour <= 8; hour++) {
    time.now = hour * 3_600_000
    users.add('bob', 10, 0, 0)
  }
  t.strictSame(Object.keys(await shown(users)).sort(), ['_other', 'bob'])
})
