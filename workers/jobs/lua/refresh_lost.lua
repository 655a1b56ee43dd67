-- KEYS: the record, the copy of its message, unfinished, callbacks. ARGV: job id, now (s).
-- Refreshes the job's timestamp if it is unfinished, and returns its message; forgets a job that has ended or has no
-- record, and with it its webhook target and its successors.
-- (There is no copy of a message that came straight from a Celery program. Its lease keeps it, under a tag of
-- its own.)
--@ parts platform/even_if_full jobs/status
--@ constants workers.keys SUCCESSORS

local record_key, copy_key, unfinished, callbacks = unpack(KEYS)
local job_id, now = unpack(ARGV)
local status = status_of(record_of(record_key))
if not status or terminal(status) then
  redis.call('ZREM', unfinished, job_id)
  if not status then
    redis.pcall('HDEL', callbacks, job_id)
    redis.pcall('HDEL', SUCCESSORS, job_id)
  end
  return false
end
redis.call('ZADD', unfinished, 'XX', now, job_id)
return record_of(copy_key)
