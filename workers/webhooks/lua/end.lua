-- KEYS: the delivery, pending, ended, failing, counts. ARGV: job id, name of the attempt, attempts (JSON), tries,
-- status, seconds until the next try, the body ("" if none could be made of the record; it replaces the record),
-- whether the receiver fails, how long the delivery is kept (s), how many ended ones are kept.
-- Returns 1; 0 if another attempt has begun, because this one took too long.
--@ parts platform/even_if_full platform/now webhooks/schedule_receiver
--@ constants workers.keys webhooks_due webhooks_leased delivery webhooks_of WEBHOOKS_CHANNEL

local delivery, pending, ended, failing, counts = unpack(KEYS)
local job_id, attempt, attempts, tries, status, retry_in_s, body, receiver_fails, kept_s, kept_count = unpack(ARGV)
local running, receiver = unpack(redis.call('HMGET', delivery, 'running', 'receiver'))
if running ~= attempt then return 0 end
redis.call('HDEL', delivery, 'running', 'running_until')
redis.call('HSET', delivery, 'attempts', attempts, 'tries', tries, 'status', status, 'due_at', now + retry_in_s)
if body ~= '' then
  redis.call('HSET', delivery, 'body', body)
  redis.call('HDEL', delivery, 'record')
end
local due = webhooks_due_prefix .. receiver
redis.call('ZREM', webhooks_leased_prefix .. receiver, job_id)
if receiver_fails == '1' then redis.call('HINCRBY', failing, receiver, 1) else redis.call('HDEL', failing, receiver) end
if status ~= 'delivered' then redis.call('HINCRBY', counts, 'failed_attempts', 1) end
if status == 'pending' then
  redis.call('ZADD', due, now + retry_in_s, job_id)
else
  redis.call('ZREM', due, job_id)
  redis.call('HINCRBY', counts, status, 1)
  redis.call('ZREM', pending, job_id)
  redis.call('ZADD', ended, now, job_id)
  redis.call('EXPIRE', delivery, kept_s)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', now - kept_s)
  local over = redis.call('ZCARD', ended) - kept_count
  if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', ended, 0, math.min(over, 50) - 1)) do
      local owner = redis.call('HGET', delivery_prefix .. old, 'owner')
      if owner and owner ~= '' then redis.call('ZREM', webhooks_of_prefix .. owner, old) end
      redis.call('DEL', delivery_prefix .. old)
      redis.call('ZREM', ended, old)
    end
  end
end
local first = schedule_receiver(receiver, 0)
if not first then redis.call('HDEL', failing, receiver) end
if first and first <= now then redis.call('PUBLISH', WEBHOOKS_CHANNEL, '') end
return 1
