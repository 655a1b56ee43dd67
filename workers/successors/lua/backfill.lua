-- KEYS: plans, endpoints. ARGV: where to go on, about how many to look at. Returns where to go on next time.
-- Finds jobs that a worker of an earlier release has ended: their plans stand where they stood, and are due now. Of a
-- job that waits for longer than records live nothing is left but its message: its plan stays.
--@ parts jobs/status jobs/note_successors
--@ constants workers.keys unfinished record
local plans, endpoints = unpack(KEYS)
local cursor, count = unpack(ARGV)
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
  elseif not record and not is_unfinished(job_id) then
    redis.call('HDEL', plans, job_id)
  end
end
return next_cursor
