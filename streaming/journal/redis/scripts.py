"""The atomic operations in Redis, as Lua scripts.

``{id}:meta`` is a hash with a stream's metadata, ``{id}:log`` a Redis stream of its batches. An entry's id is the
number of its last event plus one (an id must not be 0-0), so that XREAD after ``n + 1`` returns the events after event
n. Its fields: ``f`` the number of its first event, ``d`` the encoded events, ``w`` if readers get the whole batch,
``e`` the reason why the stream ended.
"""

from __future__ import annotations

OPEN = """
-- KEYS: meta, claim, log. ARGV: the id, the prefix of other streams' keys, seconds to live, "1" if it has a claim; then
-- the fields of the metadata.
-- Gives the id and the fingerprint of the stream that has the claim already, or nothing.
-- A log without its metadata is what eviction has left of the stream, which is stored again from its beginning.
if ARGV[4] == '1' then
  local other = redis.call('GET', KEYS[2])
  if other and other ~= ARGV[1] then
    local fingerprint = redis.call('HGET', ARGV[2] .. '{' .. other .. '}:meta', 'fingerprint')
    if fingerprint then return {other, fingerprint} end
  end
  redis.call('SET', KEYS[2], ARGV[1], 'EX', 86400)
end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {}
"""

FIND = """
-- KEYS: meta. ARGV: the prefix of other keys, the worker that asks.
-- Gives the metadata, and whether the leases exist of the worker that drives the stream, and of the one that asks.
local meta = redis.call('HGETALL', KEYS[1])
local worker = redis.call('HGET', KEYS[1], 'worker') or ''
local function is_leased(name) return redis.call('EXISTS', ARGV[1] .. 'worker:' .. name .. ':lease') end
return {meta, is_leased(worker), is_leased(ARGV[2])}
"""

APPEND = """
-- For each stream, KEYS: meta, log. ARGV: its epoch, the first and last number of its new events, "1" if numbers before
-- them are lost, why it ended, seconds to live ("0": as before), the oldest number to keep, the events.
-- Gives for each the number of the last event that is stored; -2 if the stream is not there, -3 if its epoch is over.
local answers = {}
for i = 0, #KEYS / 2 - 1 do
  local meta, log, at = KEYS[2 * i + 1], KEYS[2 * i + 2], 8 * i
  local state = redis.call('HMGET', meta, 'epoch', 'last', 'ended')
  if not state[1] then
    answers[i + 1] = -2
  elseif state[1] ~= ARGV[at + 1] then
    answers[i + 1] = -3
  else
    local stored, first, last = tonumber(state[2]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local is_next = first == stored + 1 or (ARGV[at + 4] == '1' and first > stored)
    if is_next and last >= first then
      redis.call('XADD', log, (last + 1) .. '-0', 'f', first, 'd', ARGV[at + 8])
      redis.call('HSET', meta, 'last', last)
      stored = last
    end
    if ARGV[at + 5] ~= '' and state[3] == '' and stored == last then
      redis.call('XADD', log, (last + 1) .. '-1', 'e', ARGV[at + 5])
      redis.call('HSET', meta, 'ended', ARGV[at + 5])
    end
    if ARGV[at + 7] ~= '0' then redis.call('XTRIM', log, 'MINID', (ARGV[at + 7] + 1) .. '-0') end
    if ARGV[at + 6] ~= '0' then
      redis.call('EXPIRE', meta, ARGV[at + 6])
      redis.call('EXPIRE', log, ARGV[at + 6])
    end
    answers[i + 1] = stored
  end
end
return answers
"""

MISSING, OTHER_EPOCH = -2, -3
"""Return values of APPEND."""

SEAL = """
-- KEYS: meta, log. ARGV: the epoch and the last number as they were seen, the number after the seal, seconds to live,
-- the events that end it. Gives 1 if the stream has ended now, 0 if it has changed meanwhile.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'ended')
if not state[1] or state[3] ~= '' then return 1 end
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', state[1] + 1, 'last', ARGV[3], 'ended', 'error')
redis.call('XADD', KEYS[2], (ARGV[3] + 1) .. '-0', 'f', state[2] + 1, 'w', 1, 'd', ARGV[5], 'e', 'error')
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""

DISCARD = """
-- KEYS: meta, log, claim. ARGV: the id. The claim may be another stream's by now.
-- Readers that wait for the stream find an entry in its log: it was discarded.
redis.call('DEL', KEYS[1])
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
redis.call('XADD', KEYS[2], '*', 'e', 'discarded')
redis.call('EXPIRE', KEYS[2], 10)
return 1
"""
