-- KEYS: plans, endpoints, jobs with a plan but no record. ARGV: where to go on, about how many to look at, seconds that
-- the plan of a job without a record is kept. Returns where to go on next time.
-- Finds jobs that a worker of an earlier release has ended: their plans stand where they stood, and are due now. Of a
-- job that waits for longer than records live nothing is left but its message: its plan stays. So does that of a job of
-- a bare Celery program, which has no record until its batch begins: it waits in a worker that loads its model, say.
--@ parts platform/even_if_full platform/now jobs/status jobs/note_successors
--@ constants workers.keys unfinished record
local plans, endpoints, unrecorded = unpack(KEYS)
local cursor, count, kept_s = unpack(ARGV)
local function is_unfinished(job_id)
  for _, endpoint in ipairs(redis.call('SMEMBERS', endpoints)) do
    if redis.pcall('ZSCORE', unfinished_prefix .. endpoint, job_id) then return true end
  end
  return false
end
local next_cursor, found = unpack(redis.call('HSCAN', plans, cursor, 'COUNT', count))
for i = 1, #found, 2 do
  local job_id, plan = found[i], found[i + 1]
  local record = record_of(record_prefix .. job_id)
  if terminal(status_of(record)) then
    note_successors({[job_id] = plan}, {job_id}, {record})
  elseif record or is_unfinished(job_id) then
    redis.call('ZREM', unrecorded, job_id)
  else
    redis.call('ZADD', unrecorded, 'NX', now, job_id)
    if now - redis.call('ZSCORE', unrecorded, job_id) >= tonumber(kept_s) then
      redis.call('HDEL', plans, job_id)
      redis.call('ZREM', unrecorded, job_id)
    end
  end
end
return next_cursor
