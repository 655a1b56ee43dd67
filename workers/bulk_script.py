"""The script that stores a chunk of many jobs in one step, or nothing of it; see `submission` for one job's."""

from __future__ import annotations

#: KEYS: levels, unfinished, recent, endpoints, expiring, limits, idempotency key ("" for none), what tells that
#: messages of a request under the idempotency key are being sent to another broker ("" for none), callbacks; then of
#: each job its record and the copy of its message.
#: ARGV: endpoint, seconds to live, length of `recent`, the most unfinished jobs ("" for what `limits` says), how
#: many jobs the whole call has (0: it was let in already), digest of the request and seconds to live of the
#: idempotency key, id of the call's first job, a name of the call, seconds that sending may take, how the keys of
#: records begin, how many jobs there are here; then of each job its id, record, message, submitted at, expires at
#: ("" for never), queue ("" for one that is in another broker), score in `levels` ("" for a normal job); then of those
#: whose end is to be told somewhere of their own, their ids and where.
#: A call whose first job is there was let in before, and its answer was lost.
#: Returns what became of it and a job id or a number that says more, or the numbers of the jobs that are new.
ACCEPT = """
local endpoint, ttl, total = ARGV[1], ARGV[2], tonumber(ARGV[5])
local known = false
if KEYS[7] ~= '' then
  local digest, job_id = string.match(redis.call('GET', KEYS[7]) or '', '^(%S+) (.+)$')
  known = digest and redis.call('EXISTS', ARGV[11] .. job_id) == 1
  if known and digest ~= ARGV[6] then return {'conflict', job_id} end
  local sender = KEYS[8] ~= '' and redis.call('GET', KEYS[8])
  if known and sender and sender ~= ARGV[9] then return {'sending', job_id} end
end
local sent_again = redis.call('EXISTS', KEYS[10]) == 1
if total > 0 and not known and not sent_again then
  local most = tonumber(ARGV[4]) or tonumber(redis.call('HGET', KEYS[6], endpoint))
  local unfinished = redis.call('ZCARD', KEYS[2])
  if most and unfinished + total > most then return {'full', tostring(unfinished)} end
end
local new, unfinished, expiring, queues, levels = {'accepted'}, {}, {}, {}, {}
local jobs, callbacks = tonumber(ARGV[12]), {}
for i = 13 + jobs * 7, #ARGV, 2 do callbacks[ARGV[i]] = ARGV[i + 1] end
for i = 0, jobs - 1 do
  local job_id, record, message, at, expires_at, queue, level = unpack(ARGV, 13 + i * 7, 19 + i * 7)
  if redis.call('SET', KEYS[10 + i * 2], record, 'EX', ttl, 'NX') then
    redis.call('SET', KEYS[11 + i * 2], message, 'EX', ttl)
    if callbacks[job_id] then redis.call('HSET', KEYS[9], job_id, callbacks[job_id]) end
    new[#new + 1] = i
    if queue ~= '' then
      local waiting = queues[queue] or {}
      waiting[#waiting + 1] = message
      queues[queue] = waiting
    end
    unfinished[#unfinished + 1], unfinished[#unfinished + 2] = at, job_id
    if level ~= '' then levels[#levels + 1], levels[#levels + 2] = level, job_id end
    if expires_at ~= '' then expiring[#expiring + 1], expiring[#expiring + 2] = expires_at, job_id end
  end
end
if KEYS[7] ~= '' and not known then redis.call('SET', KEYS[7], ARGV[6] .. ' ' .. ARGV[8], 'EX', ARGV[7]) end
if #new == 1 then return new end
redis.call('ZADD', KEYS[2], unpack(unfinished))
redis.call('ZADD', KEYS[3], unpack(unfinished))
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
redis.call('EXPIRE', KEYS[3], ttl)
redis.call('SADD', KEYS[4], endpoint)
if #expiring > 0 then redis.call('ZADD', KEYS[5], unpack(expiring)) end
if #levels > 0 then redis.call('ZADD', KEYS[1], unpack(levels)) end
for queue, waiting in pairs(queues) do redis.call('LPUSH', queue, unpack(waiting)) end
if KEYS[8] ~= '' then redis.call('SET', KEYS[8], ARGV[9], 'EX', ARGV[10]) end
return new
"""
