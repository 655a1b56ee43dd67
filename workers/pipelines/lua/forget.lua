-- KEYS: the pipeline's record, its plan, the due ones, the newest jobs of its first endpoint, callbacks, the owner's jobs
-- ("" without an owner), idempotency key ("" for none), the record of its first step. ARGV: id.
-- Deletes a pipeline whose first step was refused, unless another process has submitted the step meanwhile.
-- Returns 1 if it is deleted, 0 if not.
--@ parts jobs/status platform/try_call

local record_key, plan_key, due, recent, callbacks, owned, idempotency_key, step_record = unpack(KEYS)
local pipeline_id = ARGV[1]
if redis.call('EXISTS', step_record) == 1 or terminal(status_of(record_of(record_key))) then return 0 end
redis.call('DEL', record_key, plan_key)
redis.call('ZREM', due, pipeline_id)
try_call('ZREM', recent, pipeline_id)
try_call('HDEL', callbacks, pipeline_id)
if owned ~= '' then try_call('ZREM', owned, pipeline_id) end
if idempotency_key ~= '' then redis.call('DEL', idempotency_key) end
return 1
