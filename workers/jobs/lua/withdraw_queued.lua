-- As `withdraw`, for a page of queued jobs of one endpoint.
-- KEYS: unfinished, expiring, counts, levels, delayed, weights; then the records; then the copies of the messages.
-- ARGV: seconds to live of a record, kind, endpoint; then id, terminal record and owner ("" for none) of each job.
-- Returns how many were withdrawn, and what could not be done beside it; others are not queued any more.
--@ parts platform/even_if_full jobs/status platform/aside jobs/tell_ended jobs/notify jobs/unweigh

local unfinished, expiring, counts, levels, delayed, weights = unpack(KEYS, 1, 6)
local ttl, kind, endpoint = unpack(ARGV, 1, 3)
local jobs = (#KEYS - 6) / 2
local ids, records, owners, copies = {}, {}, {}, {}
for i = 1, jobs do
  local job_id, terminal_record, owner = unpack(ARGV, 3 * i + 1, 3 * i + 3)
  if status_of(record_of(KEYS[6 + i])) == 'QUEUED' then
    redis.call('SET', KEYS[6 + i], terminal_record, 'EX', ttl)
    redis.call('PUBLISH', KEYS[6 + i], terminal_record)
    ids[#ids + 1], records[#records + 1], owners[#owners + 1] = job_id, terminal_record, owner
    copies[#copies + 1] = KEYS[6 + jobs + i]
  end
end
if #ids > 0 then
  redis.call('DEL', unpack(copies))
  for _, set in ipairs({unfinished, expiring, levels, delayed}) do aside('ZREM', set, unpack(ids)) end
  unweigh(weights, ids)
  aside('HINCRBY', counts, kind, #ids)
  notify(endpoint, ids, records, owners)
  tell_ended(ids)
end
return {#ids, refused}
