-- Ends a job that was to follow another one and was never submitted. What follows it is due then.
-- KEYS: the record, `recent`, the owner's jobs ("" without an owner), endpoints.
-- ARGV: job id, terminal record, seconds to live, now (s), length of `recent`, endpoint, owner ("" for none), the plan
-- of its successors ("" for none).
-- Returns 1; 0 if the job has a record, and stays as it is. Then what could not be done beside it.
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/notify jobs/note_successors

local record_key, recent, owned, endpoints = unpack(KEYS)
local job_id, terminal_record, ttl, now, most_recent, endpoint, owner, plan = unpack(ARGV)
if record_of(record_key) then return {0, refused} end
if plan ~= '' then note_successors({[job_id] = plan}, {job_id}, {terminal_record}) end
redis.call('SET', record_key, terminal_record, 'EX', ttl)
redis.call('PUBLISH', record_key, terminal_record)
if endpoint ~= '' then
  try_call('SADD', endpoints, endpoint)
  for _, list in ipairs({recent, owned}) do
    if list ~= '' then
      try_call('ZADD', list, now, job_id)
      try_call('ZREMRANGEBYRANK', list, 0, -1 - tonumber(most_recent))
      try_call('EXPIRE', list, ttl)
    end
  end
  notify(endpoint, {job_id}, {terminal_record}, {owner})
end
publish_ended({job_id})
return {1, refused}
