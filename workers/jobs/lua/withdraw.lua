-- KEYS: the record, the copy of its message, unfinished, expiring, counts, levels, delayed, weights; last its figures of
-- this minute.
-- ARGV: job id, the terminal record, seconds to live, kind, whether a running job may be taken back too, endpoint,
-- owner ("" for none), seconds to live of the minute.
-- Returns the status that stood ("" for none), and what could not be done beside it; the record is replaced only if the
-- status allows it.
--@ parts platform/even_if_full jobs/status platform/aside jobs/tell_ended jobs/notify jobs/unweigh jobs/count_kind

local record_key, copy_key, unfinished, expiring, counts, levels, delayed, weights, minute = unpack(KEYS)
local job_id, terminal_record, ttl, kind, force, endpoint, owner, minute_ttl = unpack(ARGV)
local status = status_of(record_of(record_key))
if status == 'QUEUED' or (status == 'STARTED' and force == '1') then
  redis.call('SET', record_key, terminal_record, 'EX', ttl)
  redis.call('PUBLISH', record_key, terminal_record)
  redis.call('DEL', copy_key)
  aside('ZREM', unfinished, job_id)
  aside('ZREM', expiring, job_id)
  aside('ZREM', levels, job_id)
  aside('ZREM', delayed, job_id)
  unweigh(weights, {job_id})
  count_kind(counts, minute, minute_ttl, kind, 1)
  notify(endpoint, {job_id}, {terminal_record}, {owner})
  tell_ended({job_id})
end
return {status or '', refused}
