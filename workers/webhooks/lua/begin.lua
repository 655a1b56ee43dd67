-- KEYS: the delivery. ARGV: job id, name of the attempt, seconds that it may take.
-- Returns the fields of the delivery; false if it is not due, another attempt is under way, or its lease has run out.
--@ parts platform/even_if_full platform/now webhooks/schedule_receiver
--@ constants workers.keys webhooks_leased webhooks_due

local delivery = KEYS[1]
local job_id, attempt, may_take_s = unpack(ARGV)
local said = redis.call('HMGET', delivery, 'status', 'due_at', 'running_until', 'receiver', 'url', 'record', 'body',
  'attempts', 'tries')
if said[1] ~= 'pending' or tonumber(said[2]) > now or tonumber(said[3] or 0) > now then return false end
local taken_until = redis.call('ZSCORE', webhooks_leased_prefix .. said[4], job_id)
if not taken_until or tonumber(taken_until) <= now then return false end
redis.call('HSET', delivery, 'running', attempt, 'running_until', now + may_take_s)
redis.call('ZADD', webhooks_due_prefix .. said[4], now + may_take_s, job_id)
redis.call('ZADD', webhooks_leased_prefix .. said[4], now + may_take_s, job_id)
schedule_receiver(said[4], 0)
return {said[4], said[5], said[6], said[7], said[8], said[9], string.format('%.3f', now)}
