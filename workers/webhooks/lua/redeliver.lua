-- KEYS: the delivery, pending, ended, receivers. ARGV: job id.
-- Returns 1 if it is to be sent now; 0 if there is none.
--@ parts platform/now
--@ constants workers.keys webhooks_due WEBHOOKS_CHANNEL

local delivery, pending, ended, receivers = unpack(KEYS)
local job_id = ARGV[1]
local status, receiver = unpack(redis.call('HMGET', delivery, 'status', 'receiver'))
if not status then return 0 end
if tonumber(redis.call('HGET', delivery, 'running_until') or 0) > now then return 1 end
redis.call('HSET', delivery, 'status', 'pending', 'due_at', now, 'tries', 0)
redis.call('PERSIST', delivery)
redis.call('ZADD', pending, 'NX', now, job_id)
redis.call('ZREM', ended, job_id)
redis.call('ZADD', webhooks_due_prefix .. receiver, now, job_id)
redis.call('ZADD', receivers, 'LT', now, receiver)
redis.call('PUBLISH', WEBHOOKS_CHANNEL, '')
return 1
