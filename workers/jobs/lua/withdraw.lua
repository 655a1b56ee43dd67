-- KEYS: the record, the copy of its message, unfinished, expiring, counts, prioritized, delayed, weights; last its figures of
-- this minute.
-- ARGV: job id, the terminal record, seconds to live, kind, whether a running job may be taken back too, endpoint,
-- owner ("" for none), seconds to live of the minute.
-- Returns the status that stood ("" for none), and what could not be done beside it; the record is replaced only if the
-- status allows it.
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/notify jobs/note_successors jobs/unweigh jobs/count_ended

local record_key, copy_key, unfinished, expiring, counts, prioritized, delayed, weights, minute = unpack(KEYS)
local job_id, terminal_record, ttl, kind, force, endpoint, owner, minute_ttl = unpack(ARGV)
local status = status_of(record_of(record_key))
if status == 'QUEUED' or (status == 'STARTED' and force == '1') then
  redis.call('SET', record_key, terminal_record, 'EX', ttl)
  redis.call('PUBLISH', record_key, terminal_record)
  redis.call('DEL', copy_key)
  try_call('ZREM', unfinished, job_id)
  try_call('ZREM', expiring, job_id)
  try_call('ZREM', prioritized, job_id)
  try_call('ZREM', delayed, job_id)
  unweigh(weights, {job_id})
  count_ended(counts, minute, minute_ttl, kind, 1)
  notify(endpoint, {job_id}, {terminal_record}, {owner})
  note_successors(plans_of({job_id}), {job_id}, {terminal_record})
  publish_ended({job_id})
end
return {status or '', refused}
