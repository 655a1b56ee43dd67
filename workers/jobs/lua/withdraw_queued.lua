-- As `withdraw`, for a page of queued jobs of one endpoint.
-- KEYS: unfinished, expiring, counts, prioritized, delayed, weights, its figures of this minute; then the records; then the
-- copies of the messages.
-- ARGV: seconds to live of a record, of the minute, kind, endpoint; then id, terminal record and owner ("" for none) of
-- each job.
-- Returns how many were withdrawn, and what could not be done beside it; others are not queued any more.
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/notify jobs/note_successors jobs/unweigh jobs/count_ended

local unfinished, expiring, counts, prioritized, delayed, weights, minute = unpack(KEYS, 1, 7)
local ttl, minute_ttl, kind, endpoint = unpack(ARGV, 1, 4)
local SHARED_KEYS, FIXED, OF_JOB = 7, 4, 3
local jobs = (#KEYS - SHARED_KEYS) / 2
local ids, records, owners, copies = {}, {}, {}, {}
for i = 1, jobs do
  local at = FIXED + OF_JOB * (i - 1)
  local job_id, terminal_record, owner = unpack(ARGV, at + 1, at + OF_JOB)
  local record_key = KEYS[SHARED_KEYS + i]
  if status_of(record_of(record_key)) == 'QUEUED' then
    redis.call('SET', record_key, terminal_record, 'EX', ttl)
    redis.call('PUBLISH', record_key, terminal_record)
    ids[#ids + 1], records[#records + 1], owners[#owners + 1] = job_id, terminal_record, owner
    copies[#copies + 1] = KEYS[SHARED_KEYS + jobs + i]
  end
end
if #ids > 0 then
  redis.call('DEL', unpack(copies))
  for _, set in ipairs({unfinished, expiring, prioritized, delayed}) do try_call('ZREM', set, unpack(ids)) end
  unweigh(weights, ids)
  count_ended(counts, minute, minute_ttl, kind, #ids)
  notify(endpoint, ids, records, owners)
  note_successors(plans_of(ids), ids, records)
  publish_ended(ids)
end
return {#ids, refused}
