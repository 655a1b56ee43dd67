-- KEYS: the pipeline's record, its plan, the due ones. ARGV: id, seconds to live, seconds until it is due.
-- One that goes on lives on: its step may wait for longer than both were to be kept.
--@ parts platform/even_if_full jobs/status platform/now

local record_key, plan_key, due = unpack(KEYS)
local pipeline_id, ttl, look_in_s = unpack(ARGV)
local status = status_of(record_of(record_key))
if not status or terminal(status) then return end
redis.call('EXPIRE', record_key, ttl)
redis.call('EXPIRE', plan_key, ttl)
redis.call('ZADD', due, 'XX', now + look_in_s, pipeline_id)
