-- KEYS: the pipeline's record, its plan, the due ones.
-- ARGV: id, terminal record, seconds to live, endpoint, owner ("" for none), "1" if a step may still run: the plan stays
-- then, and is due; the plan as it is expected to be ("" for any).
-- Returns 1, or 0 if the pipeline has ended already, or has another plan.
--@ constants workers.jobs.transitions PUBLISHED_BYTES
--@ constants workers.keys delivery
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/notify platform/now

local record_key, plan_key, due = unpack(KEYS)
local pipeline_id, terminal_record, ttl, endpoint, owner, runs_on, expected_plan = unpack(ARGV)
local status = status_of(record_of(record_key))
if not status or terminal(status) then return 0 end
if expected_plan ~= '' and record_of(plan_key) ~= expected_plan then return 0 end
redis.call('SET', record_key, terminal_record, 'EX', ttl)
redis.call('PUBLISH', record_key, terminal_record)
if runs_on == '1' then
  redis.call('ZADD', due, now, pipeline_id)
else
  redis.call('DEL', plan_key)
  redis.call('ZREM', due, pipeline_id)
end
-- The webhook of an endpoint is for its own jobs, the steps: a pipeline has only the one that it was submitted with.
local is_notified = pcall(notify, '', {pipeline_id}, {terminal_record}, {owner})
if is_notified and redis.call('EXISTS', delivery_prefix .. pipeline_id) == 1 then
  try_call('HSET', delivery_prefix .. pipeline_id, 'endpoint_name', endpoint)
end
publish_ended({pipeline_id}, {terminal_record}, PUBLISHED_BYTES)
return 1
