"""The Lua scripts of the counters: each is one atomic step, and everything they store expires.

A slot is an entry in a sorted set, with the time at which it lapses unless its worker renews it. A rate is one number:
the theoretical arrival time. Times are Redis' own, in milliseconds, so that the clocks of workers do not matter.
"""

from __future__ import annotations

ADMIT = """
-- KEYS: one for each limit. ARGV: the member, the lease of a slot in ms, then for each limit its number and its period
-- in ms ("0": slots). Gives the index of the limit that refuses (0: none), ms until it does not, and for each limit the
-- number that is left (of slots) or ms until it is reset.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local refused, wait, after, left = 0, 0, {}, {}
for i, key in ipairs(KEYS) do
  local limit, period = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  if period == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    left[i] = limit - redis.call('ZCARD', key)
    if left[i] <= 0 and refused == 0 then refused = i end
  else
    local full = math.max(tonumber(redis.call('GET', key) or now), now)
    after[i] = full + period / limit
    left[i] = full - now
    local early = after[i] - now - period
    if early > 1 and (refused == 0 or early > wait) then refused, wait = i, early end
  end
end
if refused == 0 then
  for i, key in ipairs(KEYS) do
    local period = tonumber(ARGV[2 * i + 2])
    if period == 0 then
      redis.call('ZADD', key, now + ARGV[2], ARGV[1])
      redis.call('PEXPIRE', key, ARGV[2])
      left[i] = left[i] - 1
    else
      redis.call('SET', key, string.format('%.3f', after[i]), 'PX', math.ceil(after[i] - now) + 1)
      left[i] = after[i] - now
    end
  end
end
local answer = {refused, math.ceil(wait)}
for i = 1, #KEYS do answer[i + 2] = math.ceil(left[i]) end
return answer
"""

TAKE = """
-- KEYS: the slots, their queue. ARGV: the member, the limit, the lease in ms, ms for which it waits ("0": not at all).
-- Gives 1 if it has a slot now. Otherwise it is in the queue, which whoever waited too long has left.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local patience = tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - patience - 1000)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local before = redis.call('ZRANK', KEYS[2], ARGV[1]) or redis.call('ZCARD', KEYS[2])
  if redis.call('ZCARD', KEYS[1]) + before >= tonumber(ARGV[2]) then
    if patience > 0 then
      redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
      redis.call('PEXPIRE', KEYS[2], patience + 1000)
    end
    return 0
  end
  redis.call('ZREM', KEYS[2], ARGV[1])
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""

RENEW = """
-- KEYS: slots. ARGV: the lease in ms, then the member of each key.
local time = redis.call('TIME')
local until_ = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, until_, ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
"""
