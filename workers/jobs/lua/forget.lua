-- KEYS: the record, the copy of its message, unfinished, recent, expiring, prioritized, delayed, callbacks, weights; then
-- perhaps the keys of its idempotency key. ARGV: job id.
-- Deletes a job that is still queued: its message could not be sent.
--@ parts jobs/status platform/try_call jobs/unweigh
--@ constants workers.keys SUCCESSORS

local record_key, copy_key, unfinished, recent, expiring, prioritized, delayed, callbacks, weights = unpack(KEYS)
local job_id = ARGV[1]
if status_of(record_of(record_key)) == 'QUEUED' then
  redis.call('DEL', record_key, copy_key)
  for _, set in ipairs({unfinished, recent, expiring, prioritized, delayed}) do try_call('ZREM', set, job_id) end
  try_call('HDEL', callbacks, job_id)
  try_call('HDEL', SUCCESSORS, job_id)
  unweigh(weights, {job_id})
  for i = 10, #KEYS do redis.call('DEL', KEYS[i]) end
end
return refused
