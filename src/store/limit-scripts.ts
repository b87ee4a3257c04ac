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
 *   open     the reservations that are not settled, by the time at which they are given up; those that are under way, and that Redis
 *            has lost, with `lost:` before them
 *   rate     of requests, or of tokens: a hash of what was taken in each step of the window, by the number of the step;
 *            `sum` of these; `from`, the first step that may be there
 *   slots    who has one, by the time at which it is free again unless it is held
 *   budget   a hash: the `period`, by its beginning, and what is `spent` in it, in billionths of a USD
 *   usage    of a key: a hash of the `day` and the `month` and what was used in each
 * and beside each rate of tokens, and each budget, of which requests take estimates (see src/limits/doubt.ts):
 *   errors   a hash of how wrong estimates were: the `worst` and the `second` worst of the errors `since` a time, and how many
 *            were `seen`; the same of those before, `worstBefore` and so on; `largest`, the largest estimate under way
 *   flying   who is under way, by the time at which it is taken to have died unless it is held
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
  -- After a failover the clock may be a little behind.
  local from = redis.call('HGET', key, 'from')
  if not from or tonumber(from) > step then redis.call('HSET', key, 'from', step) end
  -- When the last step has left the window, nothing is to be kept.
  redis.call('PEXPIRE', key, 62 * size)
end
`

/** What is known of how wrong estimates are, by now: the two worst errors, and how many were seen, of late and before that. */
const errors = `
local function errorsOf(key)
  local known = redis.call('HMGET', key, 'since', 'worst', 'second', 'seen', 'worstBefore', 'secondBefore', 'seenBefore')
  for n = 1, 7 do known[n] = tonumber(known[n] or 0) end
  local since, worst, second, seen = known[1], known[2], known[3], known[4]
  -- After two hours nothing that was seen says what is usual.
  if now - since >= 7200000 then return now, 0, 0, 0, 0, 0, 0 end
  -- An hour, or five minutes in which many were seen, is remembered as what was before.
  if now - since >= (seen >= 64 and 300000 or 3600000) then return now, 0, 0, 0, worst, second, seen end
  return unpack(known)
end
`

/*
 * KEYS: open, then each limit; after one of which an estimate is taken, its errors and its flying.
 * ARGV: 1 the id of the reservation, 2 how long a slot is had without being held, 3 how long a reservation may be settled without
 * being held, 4 the length of a step, 5-8 beginnings of months, then of each limit: its kind, its cap, the amount to take, and
 * 1 if that is an estimate.
 * All limits are asked first; only if each of them has room anything is taken.
 */
const reserve = `${clock}${errors}
local size = tonumber(ARGV[4])
local step = math.floor(now / size)
local month, monthEnd = months(5)
local used, waits, resets, held, isGranted = {}, {}, {}, {}, 1
-- Of each limit: where its keys begin, and how large the largest of its estimates under way is then.
local places, largest, place = {}, {}, 2
local count = (#ARGV - 8) / 4
for n = 1, count do
  local key, at = KEYS[place], 5 + n * 4
  local kind, cap, amount, isEstimate = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3] == '1'
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
  if isEstimate then
    local errors, flying = KEYS[place + 1], KEYS[place + 2]
    -- Who is not held any more has died: whatever it comes to, nobody will tell.
    redis.call('ZREMRANGEBYSCORE', flying, '-inf', now)
    local underWay = redis.call('ZCARD', flying)
    local since, worst, second, seen, worstBefore, secondBefore, seenBefore = errorsOf(errors)
    local before = tonumber(redis.call('HGET', errors, 'largest') or 0)
    -- Of none under way, none is the largest.
    if underWay == 0 then before = 0 end
    largest[n] = math.max(amount, before)
    -- The second worst: one may be as wrong as none before, and is the one by whose error a cap may be passed.
    local doubt = math.max(second, secondBefore, math.min(worst, worstBefore))
    -- Fewer say nothing of what is usual: a request may come to four times its estimate.
    if seen + seenBefore < 16 then doubt = math.max(doubt, 3 * before) end
    held[n] = underWay * doubt
    -- There is room, but each of those under way may need so much more: when they are over, it is known.
    if wait == 0 and taken + held[n] + amount > cap then wait = 1000 end
  end
  if wait > 0 then isGranted = 0 end
  used[n], waits[n], resets[n] = taken, wait, reset
  places[n] = place
  place = place + (isEstimate and 3 or 1)
end
if isGranted == 1 then
  -- Who has not been settled for so long never will be.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  for n = 1, count do
    local key, at = KEYS[places[n]], 5 + n * 4
    local kind, amount = ARGV[at], tonumber(ARGV[at + 2])
    if kind == 'rate' then
      take(key, step, size, amount)
    elseif kind == 'slots' then
      redis.call('ZADD', key, now + ARGV[2], ARGV[1])
      redis.call('PEXPIRE', key, ARGV[2])
    else
      local period, over = day, day + 86400000
      if kind == 'month' then period, over = month, monthEnd end
      redis.call('HSET', key, 'period', period, 'spent', used[n] + amount)
      redis.call('PEXPIREAT', key, over)
    end
    if ARGV[at + 3] == '1' then
      local errors, flying = KEYS[places[n] + 1], KEYS[places[n] + 2]
      redis.call('ZADD', flying, now + ARGV[2], ARGV[1])
      redis.call('PEXPIRE', flying, ARGV[2])
      redis.call('HSET', errors, 'largest', largest[n])
      redis.call('PEXPIRE', errors, 7200000)
    end
  end
end
-- Each limit has four numbers: used before, wait, reset, and what was held back for what was under way.
local answer = { isGranted, now, month }
for n = 1, count do
  answer[#answer + 1] = used[n]
  answer[#answer + 1] = waits[n]
  answer[#answer + 1] = resets[n]
  answer[#answer + 1] = held[n] or 0
end
return answer
`

/*
 * KEYS: open, the usage of the key, then each limit; after one of which an estimate was taken, its errors and its flying.
 * ARGV: 1 the id of the reservation, with `late:` before it where nobody has heard whether it was granted, and the request was served all the same; 2 the length of a
 * step, 3 when it was made, 4 the beginning of the month in which it was, both empty where nobody has heard of it, 5 how long usage is kept, 6-9 beginnings of months,
 * 10 how many requests to count (0 for nobody), 11 tokens, 12 billionths of a USD, 13 how long a reservation may be settled without being held, then of each limit: its
 * kind, what was reserved, how much more than that was taken, or less, and whether it is an estimate: 0, or 1, or 2 if it was seen how wrong it was.
 */
const settle = `${clock}${errors}
local isLate = string.sub(ARGV[1], 1, 5) == 'late:'
local id = isLate and string.sub(ARGV[1], 6) or ARGV[1]
local openUntil = redis.call('ZSCORE', KEYS[1], id)
local isReserved = redis.call('ZREM', KEYS[1], id) == 1
-- Only once; and after a Redis that has lost everything, only if it was held since.
local isLost = redis.call('ZREM', KEYS[1], 'lost:' .. id) == 1
local isOpen = isReserved or isLost
if isLate then
  -- It may have been reserved, or not: that it is settled is kept for a while.
  isOpen = redis.call('ZADD', KEYS[1], 'NX', now + ARGV[13], ARGV[1]) == 1
  redis.call('PEXPIRE', KEYS[1], ARGV[13])
end
local size, madeAt, monthBegan = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- By the clock of Redis, where that is known.
if isReserved and (isLate or not madeAt) then madeAt, monthBegan = openUntil - ARGV[13], nil end
madeAt = madeAt or now
local step = math.floor(now / size)
local place = 3
for at = 14, #ARGV, 4 do
  local key, kind, isEstimate = KEYS[place], ARGV[at], ARGV[at + 3] ~= '0'
  local difference = tonumber(ARGV[at + 2])
  -- Of what was not reserved all is more; a minute, or a slot, that nobody has asked for is over.
  if not isReserved then difference = (kind == 'day' or kind == 'month') and difference + ARGV[at + 1] or 0 end
  if kind == 'slots' then
    redis.call('ZREM', key, id)
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
    if kind == 'month' then period = monthBegan or months(6) end
    if tonumber(redis.call('HGET', key, 'period') or 0) == period then
      redis.call('HINCRBY', key, 'spent', difference)
    elseif isLate or isLost then
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
  if isEstimate then
    local errors, flying = KEYS[place + 1], KEYS[place + 2]
    redis.call('ZREM', flying, id)
    if isReserved and ARGV[at + 3] == '2' then
      local since, worst, second, seen, worstBefore, secondBefore, seenBefore = errorsOf(errors)
      redis.call('HSET', errors, 'since', since, 'worst', math.max(worst, difference),
        'second', math.max(second, math.min(worst, difference)), 'seen', seen + 1,
        'worstBefore', worstBefore, 'secondBefore', secondBefore, 'seenBefore', seenBefore)
      redis.call('PEXPIRE', errors, 7200000)
    end
  end
  place = place + (isEstimate and 3 or 1)
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
  if number == 1 then
    -- Of what is not known, Redis has lost what was taken: it is not to be given back, but what it came to is to be charged.
    local isKnown = redis.call('ZSCORE', KEYS[1], ARGV[at + 1])
    redis.call('ZADD', KEYS[1], now + ARGV[2], (isKnown and '' or 'lost:') .. ARGV[at + 1])
  else
    -- What is under way takes a slot, also when somebody thought that it had died.
    redis.call('ZADD', KEYS[number], now + ARGV[1], ARGV[at + 1])
  end
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
