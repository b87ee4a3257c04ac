import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectRedis, RedisLeases, RedisPersistence } from '../../src/index.ts'

/**
 * A process of its own that wants the lease `turn:{it}`: `contend` takes it a number of times; `hold` takes it and says when,
 * and when it was stopped and goes on it tries to write; `wait` says that it waits for it.
 */
const [url = '', task, argument] = process.argv.slice(2)
const say = (line: string): unknown => process.stdout.write(`${line}\n`)
const connection = await connectRedis({ url })
const leaseMs = task === 'contend' ? 15_000 : Number(argument)
const leases = new RedisLeases(connection, { leaseMs })
const acquire = async () => {
  const lease = await leases.acquire('turn:{it}', { waitMs: 12_000 })
  if (!lease) throw new Error('it took too long')
  return lease
}

async function contend(times: number): Promise<void> {
  let overlaps = 0
  const tokens: number[] = []
  const turn = async (): Promise<void> => {
    const lease = await acquire()
    const holders = await connection.run((redis) => redis.incr('holders'))
    if (holders !== 1) overlaps += 1
    tokens.push(lease.token)
    await sleep(Math.random() * 4)
    await connection.run((redis) => redis.decr('holders'))
    lease.release()
  }
  await Promise.all(Array.from({ length: times }, turn))
  say(JSON.stringify({ overlaps, tokens }))
}

async function hold(): Promise<void> {
  const lease = await acquire()
  await new RedisPersistence(connection).set('value:{it}', 'of the first', { lease })
  const resumed = once(process, 'SIGCONT')
  say('held')
  await resumed
  const failure: unknown = await new RedisPersistence(connection)
    .set('value:{it}', 'late', { lease })
    .catch((error: unknown) => error)
  lease.release()
  say(failure instanceof Error ? failure.name : 'written')
}

if (task === 'contend') await contend(Number(argument))
if (task === 'hold') await hold()
if (task === 'wait') {
  const waiting = acquire()
  await sleep(200)
  say('waits')
  await waiting
}
await connection.close()
