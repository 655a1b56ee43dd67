-- KEYS: the list of the message ("" if it is in another broker), the job's record, the newest jobs of the endpoint, the
-- set of endpoints, the names of the endpoints that take jobs, the number of jobs that were failed so.
-- ARGV: message, job id, endpoint, the record of the failed job, seconds to live, when it was submitted (s), length of
-- `recent`, the plan of its successors by its message ("" for none).
-- Returns 1 if the message is not needed any more, 0 if it is somebody's: its endpoint was deployed meanwhile, a worker
-- has taken it, or its job was accepted with a record.
--@ constants workers.jobs.transitions PUBLISHED_BYTES
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/note_successors

local list, record_key, recent, endpoints, taking_jobs, failed = unpack(KEYS)
local message, job_id, endpoint, failed_record, ttl, submitted_at, most_recent, plan = unpack(ARGV)
if redis.call('HEXISTS', taking_jobs, endpoint) == 1 then return 0 end
local status = status_of(record_of(record_key))
if status and not terminal(status) then return 0 end
if list ~= '' and redis.call('LREM', list, -1, message) == 0 then return 0 end
if status then return 1 end
if plan ~= '' then note_successors({[job_id] = plan}, {job_id}, {failed_record}) end
redis.call('SET', record_key, failed_record, 'EX', ttl)
redis.call('PUBLISH', record_key, failed_record)
try_call('ZADD', recent, submitted_at, job_id)
try_call('ZREMRANGEBYRANK', recent, 0, -1 - tonumber(most_recent))
try_call('EXPIRE', recent, ttl)
try_call('SADD', endpoints, endpoint)
try_call('INCR', failed)
publish_ended({job_id}, {failed_record}, PUBLISHED_BYTES)
return 1
