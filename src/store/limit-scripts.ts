import type { Result } from 'ioredis'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** See `reserve` below. */
    signalboxReserve(
      ...args: [numberOfKeys: number, ...keysAndArguments: (string | number)[]]
    ): Result<[granted: 0 | 1, now: number, month: number, ...usesAndWaits: number[]], Context>
    /** 1, or 0 when it was settled before, or is not known any more. */
    signalboxSettle(...args: [numberOfKeys: number, ...keysAndArguments: (string | number)[]]): Result<number, Context>
    signalboxHold(...args: [numberOfKeys: number, ...keysAndArguments: (string | number)[]]): Result<number, Context>
  }
}

/*
 * What is kept of limits, all in one slot, since the limits of a request are those of a key, of a model and of the gateway, and
 * are checked as one:
 *   open     the reservations that are not settled, by the time at which they are given up
 *   rate     of requests, or of tokens: a hash of what was taken in each step of the window, by the number of the step;
 *            `sum` of these; `from`, the first step that may be there
 *   slots    who has one, by the time at which it is free again unless it is held
 *   budget   a hash: the `period`, by its beginning, and what is `spent` in it, in billionths of a USD
 *   usage    of a key: a hash of the `day` and the `month` and what was used in each
 * All times are those of the Redis server, in milliseconds.
 */

const clock = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local day = now - now % 86400000
-- The month: the last of the beginnings that is over. The next one is where it ends.
local function months(first)
  local month, monthEnd
  for n = first, first + 2 do
    if tonumber(ARGV[n]) <= now then month, monthEnd = tonumber(ARGV[n]), tonumber(ARGV[n + 1]) end
  end
  return month, monthEnd
end
-- What is left of a window when the steps that have left it are forgotten. 60 steps and the one that has begun count.
local function window(key, step)
  local known = redis.call('HMGET', key, 'sum', 'from')
  local sum, from = tonumber(known[1] or 0), tonumber(known[2] or step)
  if from >= step - 60 then return sum, from end
  local gone = {}
  -- Nothing is later than 121 steps after the first: the key would have run out.
  for n = from, math.min(step - 61, from + 121) do gone[#gone + 1] = n end
  for _, taken in ipairs(redis.call('HMGET', key, unpack(gone))) do sum = sum - (tonumber(taken or 0)) end
  redis.call('HDEL', key, unpack(gone))
  redis.call('HSET', key, 'sum', sum, 'from', step - 60)
  return sum, step - 60
end
-- Takes something in the step of now.
local function take(key, step, size, amount)
  redis.call('HINCRBY', key, step, amount)
  redis.call('HINCRBY', key, 'sum', amount)
  redis.call('HSETNX', key, 'from', step)
  -- When the last step has left the window, nothing is to be kept.
  redis.call('PEXPIRE', key, 62 * size)
end
`

/*
 * KEYS: open, then each limit.
 * ARGV: 1 the id of the reservation, 2 how long a slot is had without being held, 3 how long a reservation may be settled without
 * being held, 4 the length of a step, 5-8 beginnings of months, then of each limit: its kind, its cap, the amount to take.
 * All limits are asked first; only if each of them has room anything is taken.
 */
const reserve = `${clock}
local size = tonumber(ARGV[4])
local step = math.floor(now / size)
local month, monthEnd = months(5)
local used, waits, resets, isGranted = {}, {}, {}, 1
for n = 2, #KEYS do
  local key, at = KEYS[n], 9 + (n - 2) * 3
  local kind, cap, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local taken, wait, reset = 0, 0, 0
  if kind == 'rate' then
    local from
    taken, from = window(key, step)
    local excess = taken + amount - cap
    if excess > 0 then
      -- How many of the first steps have to leave until there is room.
      wait = 61 * size
      local steps = {}
      for number = from, step do steps[#steps + 1] = number end
      for index, value in ipairs(redis.call('HMGET', key, unpack(steps))) do
        excess = excess - tonumber(value or 0)
        if excess <= 0 then
          wait = (from + index - 1 + 61) * size - now
          break
        end
      end
    end
    -- What is taken now leaves with its step; without that, nobody asks.
    if taken > 0 or amount > 0 then reset = (step + 61) * size - now end
  elseif kind == 'slots' then
    -- Who does not hold its slot any more has died.
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    taken = redis.call('ZCARD', key)
    if taken + amount > cap then wait = 1000 end
  else
    local period, over = day, day + 86400000
    if kind == 'month' then period, over = month, monthEnd end
    local known = redis.call('HMGET', key, 'period', 'spent')
    -- Of a period that is over nothing counts.
    if tonumber(known[1] or 0) == period then taken = tonumber(known[2] or 0) end
    reset = over - now
    if taken + amount > cap then wait = reset end
  end
  if wait > 0 then isGranted = 0 end
  used[n - 1], waits[n - 1], resets[n - 1] = taken, wait, reset
end
if isGranted == 1 then
  -- Who has not been settled for so long never will be.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  for n = 2, #KEYS do
    local key, at = KEYS[n], 9 + (n - 2) * 3
    local kind, amount = ARGV[at], tonumber(ARGV[at + 2])
    if kind == 'rate' then
      take(key, step, size, amount)
    elseif kind == 'slots' then
      redis.call('ZADD', key, now + ARGV[2], ARGV[1])
      redis.call('PEXPIRE', key, ARGV[2])
    else
      local period, over = day, day + 86400000
      if kind == 'month' then period, over = month, monthEnd end
      redis.call('HSET', key, 'period', period, 'spent', used[n - 1] + amount)
      redis.call('PEXPIREAT', key, over)
    end
  end
end
-- Each limit has three numbers: used before, wait, reset.
local answer = { isGranted, now, month }
for n = 1, #KEYS - 1 do
  answer[#answer + 1] = used[n]
  answer[#answer + 1] = waits[n]
  answer[#answer + 1] = resets[n]
end
return answer
`

/*
 * KEYS: open, the usage of the key, then each limit.
 * ARGV: 1 the id of the reservation, with `late:` before it where there was none, 2 the length of a step, 3 when it was made, 4 the beginning of the month in which
 * it was, both empty where nobody has heard of it, 5 how long usage is kept, 6-9 beginnings of months, 10 how many requests to count (0 for nobody), 11 tokens, 12 billionths
 * of a USD, 13 how long a reservation may be settled without being held, then of each limit: its kind, and how much more than
 * reserved was taken, or less.
 */
const settle = `${clock}
-- Only once; and not after a Redis that has lost everything, which knows nothing of it.
local openUntil = redis.call('ZSCORE', KEYS[1], ARGV[1])
local isLate = string.sub(ARGV[1], 1, 5) == 'late:'
local isOpen
if isLate then
  -- Nobody has reserved anything: that it is settled is kept for a while instead.
  isOpen = redis.call('ZADD', KEYS[1], 'NX', now + ARGV[13], ARGV[1]) == 1
  redis.call('PEXPIRE', KEYS[1], ARGV[13])
else
  isOpen = redis.call('ZREM', KEYS[1], ARGV[1]) == 1
end
local size, madeAt = tonumber(ARGV[2]), tonumber(ARGV[3]) or (openUntil or now) - ARGV[13]
local step = math.floor(now / size)
for n = 3, #KEYS do
  local key, at = KEYS[n], 14 + (n - 3) * 2
  local kind, difference = ARGV[at], tonumber(ARGV[at + 1])
  if kind == 'slots' then
    redis.call('ZREM', key, ARGV[1])
  elseif isOpen and difference ~= 0 and kind == 'rate' then
    window(key, step)
    local made = math.floor(madeAt / size)
    if difference > 0 then
      take(key, step, size, difference)
    elseif redis.call('HEXISTS', key, made) == 1 then
      -- What was not needed is given back where it was taken, unless that has left the window.
      redis.call('HINCRBY', key, made, difference)
      redis.call('HINCRBY', key, 'sum', difference)
    end
  elseif isOpen and difference ~= 0 then
    -- It belongs to the period that it was made in.
    local period = madeAt - madeAt % 86400000
    if kind == 'month' then period = tonumber(ARGV[4]) or months(6) end
    if tonumber(redis.call('HGET', key, 'period') or 0) == period then
      redis.call('HINCRBY', key, 'spent', difference)
    elseif isLate then
      -- What was spent without asking may be the first of its period.
      local month, monthEnd = months(6)
      local current, over = day, day + 86400000
      if kind == 'month' then current, over = month, monthEnd end
      if period == current then
        redis.call('HSET', key, 'period', period, 'spent', difference)
        redis.call('PEXPIREAT', key, over)
      end
    end
  end
end
if not isOpen then return 0 end
if ARGV[10] ~= '0' then
  local periods = { day = day, month = (months(6)) }
  for name, period in pairs(periods) do
    -- A new period begins with nothing.
    if tonumber(redis.call('HGET', KEYS[2], name) or 0) ~= period then
      redis.call('HSET', KEYS[2], name, period, name .. '_requests', 0, name .. '_tokens', 0, name .. '_usd', 0)
    end
    redis.call('HINCRBY', KEYS[2], name .. '_requests', ARGV[10])
    redis.call('HINCRBY', KEYS[2], name .. '_tokens', ARGV[11])
    redis.call('HINCRBY', KEYS[2], name .. '_usd', ARGV[12])
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 1
`

/*
 * KEYS: open, then sets of slots.
 * ARGV: 1 how long a slot is had, 2 how long a reservation may be settled, then pairs: the number of a key, and an id to hold there.
 */
const hold = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for at = 3, #ARGV, 2 do
  local number = tonumber(ARGV[at])
  -- What is under way takes a slot, also when somebody thought that it had died.
  redis.call('ZADD', KEYS[number], now + ARGV[number == 1 and 2 or 1], ARGV[at + 1])
end
for number = 1, #KEYS do redis.call('PEXPIRE', KEYS[number], ARGV[number == 1 and 2 or 1]) end
return 1
`

/** The number of their keys comes with each call. */
export const limitScripts = {
  signalboxReserve: { lua: reserve },
  signalboxSettle: { lua: settle },
  signalboxHold: { lua: hold },
}
