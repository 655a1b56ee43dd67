-- KEYS: the pipeline's record, its plan, the due ones.
-- ARGV: id, the plan as it is expected to be, the new one, the record beside it, seconds to live, seconds until it is due.
-- Returns 1, or 0 if the plan is another one, or the pipeline has ended: nothing is changed then.
--@ parts platform/even_if_full jobs/status platform/now

local record_key, plan_key, due = unpack(KEYS)
local pipeline_id, expected_plan, plan, record, ttl, look_in_s = unpack(ARGV)
local status = status_of(record_of(record_key))
if not status or terminal(status) or record_of(plan_key) ~= expected_plan then return 0 end
redis.call('SET', plan_key, plan, 'EX', ttl)
redis.call('SET', record_key, record, 'EX', ttl)
redis.call('ZADD', due, now + look_in_s, pipeline_id)
return 1
