import type { Result } from 'ioredis'
import { limitScripts } from './limit-scripts.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** The token of the lease; null while another has it. */
    signalboxAcquire(
      ...args: [lease: string, fence: string, queue: string, seen: string, ...Acquisition]
    ): Result<string | null, Context>
    /** 1, or 0 when the lease has been lost. */
    signalboxRenew(
      ...args: [lease: string, fence: string, id: string, token: number, leaseMs: number, fenceMs: number]
    ): Result<number, Context>
    signalboxRelease(
      ...args: [lease: string, fence: string, queue: string, seen: string, id: string]
    ): Result<number, Context>
    /** 1, or 0 when the lease has been lost and nothing was written. No `ttlMs`, that is an empty text, for good. */
    signalboxSetFenced(
      ...args: [value: string, fence: string, token: number, text: string, ttlMs: number | '']
    ): Result<number, Context>
    /** 1, or 0 when somebody else has written to the log, ended or deleted it, and nothing was appended. */
    signalboxAppend(
      ...args: [log: string, at: number, ttlMs: number, maxEvents: number, end: 0 | 1, ...texts: string[]]
    ): Result<number, Context>
    /** The id of the oldest entry, and the entries from an event on; null when there is no log. */
    signalboxRead(
      ...args: [log: string, from: number, count: number]
    ): Result<[first: string, entries: [id: string, fields: [name: string, text: string]][]] | null, Context>
    /** No `oldest` and `ttlMs`, that is empty texts, for good. */
    signalboxIndex(
      ...args: [index: string, at: number, member: string, oldest: number | '', ttlMs: number | '']
    ): Result<number, Context>
    /** No `at` and `member`, that is empty texts, from the beginning. */
    signalboxPage(
      ...args: [index: string, at: number | '', member: string, isNewestFirst: 0 | 1, limit: number]
    ): Result<[member: string, at: string][], Context>
  }
}

type Acquisition = [id: string, leaseMs: number, fenceMs: number, patienceMs: number, waits: 0 | 1]

/*
 * What is kept of a lease, all in one slot:
 *   lease  who has it (the id of an acquisition), until it runs out
 *   fence  the token of the last lease, kept for longer, so that a late write can be told from a good one
 *   queue  who waits, by the time of arrival
 *   seen   who waits, by the time at which it last asked: who is killed while waiting leaves the queue by that
 * All times are those of the Redis server: the clocks of the gateways may differ.
 */

const acquire = `
-- The server's clock, in microseconds. Below 2^53 until the year 2255.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local text = string.format('%.0f', now)
-- Who has not asked for longer than the patience (milliseconds) does not wait any more.
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%.0f', now - ARGV[4] * 1000))
for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
end
-- It is granted when nobody has it, and nobody else came before.
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if redis.call('EXISTS', KEYS[1]) == 0 and (not first or first == ARGV[1]) then
  -- A token larger than the last one; by the clock, so that it grows even if the last one is no longer known.
  local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now)
  text = string.format('%.0f', token)
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('SET', KEYS[2], text, 'PX', ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
  return text
end
-- Who will ask again keeps the place of its arrival, and has been seen.
if ARGV[5] == '1' then
  redis.call('ZADD', KEYS[3], 'NX', text, ARGV[1])
  redis.call('ZADD', KEYS[4], text, ARGV[1])
  -- When all who wait are gone, so is the queue.
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
return false
`

const renew = `
-- Somebody has had it since: it is lost.
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
-- It may have run out meanwhile, but nobody has had it: it goes on.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
`

const release = `
-- Who gives up waiting leaves the queue.
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
-- Another's lease is left alone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
-- No lease has this token: nothing is written with the one that is over.
redis.call('INCR', KEYS[2])
return 1
`

const setFenced = `
-- The lease that the write comes with is not the last one: nothing is written.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
-- With its time, or for good.
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
`

const append = `
-- The number that the next event has: one more than the last one's.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local at = 0
if last then
  -- Behind the end of a log nothing follows.
  if last[1] == '2-0' then return 0 end
  at = tonumber(string.sub(last[1], 3)) + 1
end
-- The writer thinks of another log than this one.
if at ~= tonumber(ARGV[1]) then return 0 end
for index = 5, #ARGV do
  redis.call('XADD', KEYS[1], '1-' .. string.format('%.0f', at + index - 5), 'event', ARGV[index])
end
if ARGV[4] == '1' then redis.call('XADD', KEYS[1], '2-0', 'end', '') end
-- The end is no event: it does not push one out.
redis.call('XTRIM', KEYS[1], 'MAXLEN', tonumber(ARGV[3]) + tonumber(ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

const read = `
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
-- There is no log, or none any more.
if not first then return false end
return { first[1], redis.call('XRANGE', KEYS[1], '1-' .. ARGV[1], '+', 'COUNT', ARGV[2]) }
`

const index = `
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] == '' then
  -- A time that the index had before is called off: this member is kept for good.
  redis.call('PERSIST', KEYS[1])
else
  -- What is older than anything is kept goes.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
  -- When nothing has been added for as long as anything is kept, all of it has gone.
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
`

const page = `
local rank = ARGV[3] == '1' and 'ZREVRANK' or 'ZRANK'
local range = ARGV[3] == '1' and 'ZREVRANGE' or 'ZRANGE'
local from = 0
if ARGV[1] ~= '' then
  -- The page begins behind a member that may be gone: it takes its place once more, to be counted from.
  local isGone = redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2]) == 1
  from = redis.call(rank, KEYS[1], ARGV[2])
  -- Without it, the next one has its rank.
  if isGone then redis.call('ZREM', KEYS[1], ARGV[2]) else from = from + 1 end
end
local flat = redis.call(range, KEYS[1], from, from + ARGV[4] - 1, 'WITHSCORES')
-- As pairs of a member and its number.
local places = {}
for n = 1, #flat, 2 do places[#places + 1] = { flat[n], flat[n + 1] } end
return places
`

/** Each runs as a whole, between the commands of everybody else. */
export const redisScripts = {
  signalboxAcquire: { lua: acquire, numberOfKeys: 4 },
  signalboxRenew: { lua: renew, numberOfKeys: 2 },
  signalboxRelease: { lua: release, numberOfKeys: 4 },
  signalboxSetFenced: { lua: setFenced, numberOfKeys: 2 },
  signalboxAppend: { lua: append, numberOfKeys: 1 },
  signalboxRead: { lua: read, numberOfKeys: 1 },
  signalboxIndex: { lua: index, numberOfKeys: 1 },
  signalboxPage: { lua: page, numberOfKeys: 1 },
  ...limitScripts,
}
