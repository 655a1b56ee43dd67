-- KEYS: the records, then `recent`, the set of endpoints, unfinished.
-- ARGV: seconds to live, length of `recent`, endpoint, holder; then record, id, submitted at, tag of each job ("" where
-- its lease is not in this Redis).
-- Returns for each job "" where it is claimed now; otherwise the terminal status that it has already,
-- the whole record of an attempt that was begun before, or NOT_HELD: the lease was lost. The last answer is what could
-- not be done beside it.
--@ parts platform/even_if_full jobs/status platform/try_call queues/leases

local jobs = #KEYS - 3
local recent, endpoints, unfinished = unpack(KEYS, jobs + 1)
local ttl, most_recent, endpoint, holder = unpack(ARGV, 1, 4)
local answers, tags = {}, {}
for i = 1, jobs do tags[i] = ARGV[4 * i + 4] end
local held = states(holder, tags)
for i = 1, jobs do
  local started_record, job_id, submitted_at = unpack(ARGV, 4 * i + 1, 4 * i + 3)
  local record = record_of(KEYS[i])
  local status = status_of(record)
  if tags[i] ~= '' and held[i] ~= 'mine' then
    answers[i] = 'NOT_HELD'
  elseif terminal(status) then
    answers[i] = status
  elseif status == 'STARTED' then
    answers[i] = record
  else
    redis.call('SET', KEYS[i], started_record, 'EX', ttl)
    if not record or record == '' then
      try_call('ZADD', recent, 'NX', submitted_at, job_id)
      try_call('ZADD', unfinished, 'NX', submitted_at, job_id)
      try_call('SADD', endpoints, endpoint)
    end
    answers[i] = ''
  end
end
try_call('ZREMRANGEBYRANK', recent, 0, -1 - tonumber(most_recent))
try_call('EXPIRE', recent, ttl)
answers[jobs + 1] = refused
return answers
