-- KEYS: the pipeline's record, its plan, the due ones, the newest jobs of its first endpoint, endpoints, callbacks, the
-- owner's jobs ("" without an owner), idempotency key ("" for none).
-- ARGV: id, record, plan, seconds to live, submitted at (s), seconds until others look at it, length of `recent`,
-- endpoint, callback ("" for none), digest of the request, seconds to live of the idempotency key, "1" if the
-- caller waits for replicas.
-- Returns 'begun', 'repeated' or 'conflict', and the id of the job under the idempotency key.
--@ parts jobs/status platform/try_call platform/clock jobs/write_again
--@ constants workers.keys record

local record_key, plan_key, due, recent, endpoints, callbacks, owned, idempotency_key = unpack(KEYS)
local pipeline_id, record, plan, ttl, submitted_at, look_in_s, most_recent, endpoint = unpack(ARGV, 1, 8)
local callback, digest, key_ttl, is_replicated = unpack(ARGV, 9, 12)
if idempotency_key ~= '' then
  local known_digest, known_id = string.match(record_of(idempotency_key) or '', '^(%S+) (.+)$')
  if known_digest and redis.call('EXISTS', record_prefix .. known_id) == 1 then
    if known_digest ~= digest then return {'conflict', known_id} end
    if is_replicated == '1' then write_again(idempotency_key) end
    return {'repeated', known_id}
  end
end
if redis.call('EXISTS', record_key) == 1 then
  if is_replicated == '1' then write_again(record_key) end
  return {'repeated', pipeline_id}
end
redis.call('ZADD', due, clock(submitted_at) + look_in_s, pipeline_id)
if callback ~= '' then redis.call('HSET', callbacks, pipeline_id, callback) end
redis.call('SET', plan_key, plan, 'EX', ttl)
redis.call('SET', record_key, record, 'EX', ttl)
if idempotency_key ~= '' then redis.call('SET', idempotency_key, digest .. ' ' .. pipeline_id, 'EX', key_ttl) end
redis.call('SADD', endpoints, endpoint)
for _, list in ipairs({recent, owned}) do
  if list ~= '' then
    try_call('ZADD', list, submitted_at, pipeline_id)
    try_call('ZREMRANGEBYRANK', list, 0, -1 - tonumber(most_recent))
    try_call('EXPIRE', list, ttl)
  end
end
return {'begun', pipeline_id}
