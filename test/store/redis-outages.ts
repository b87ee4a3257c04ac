import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { connectRedis, type RedisConnection, type RedisConnectOptions, StoreUnavailable } from '../../src/index.ts'

/** Connects for one test, and closes with it. */
export async function connected(t: Test, options: RedisConnectOptions): Promise<RedisConnection> {
  const connection = await connectRedis(options)
  t.teardown(() => connection.close())
  return connection
}

let stores = 0
/** A prefix that no other test has: to a store with it, the server is empty. */
export const emptyPrefix = (): string => `test${process.pid}-${stores++}:`

/** Whatever is asked is refused, as a store that is away, in not much more than the command timeout. */
export async function failsInTime(t: Test, timeoutMs: number, work: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now()
  await t.rejects(work(), StoreUnavailable)
  const took = Math.round(performance.now() - startedAt)
  t.ok(took < timeoutMs + 400, `after ${took} ms`)
}

/** It works again, by itself, within two seconds from now on. */
export async function recovers(t: Test, work: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now()
  const isDone = async (): Promise<boolean> => {
    try {
      await work()
      return true
    } catch (error) {
      if (error instanceof StoreUnavailable) return false
      throw error
    }
  }
  while (!(await isDone())) await sleep(20)
  const took = Math.round(performance.now() - startedAt)
  t.ok(took < 2000, `after ${took} ms`)
}
