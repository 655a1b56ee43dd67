-- Delays jobs that are not due: stores each in `delayed` with its record and a copy of its message, and ends its lease in
-- the same step.
--
-- KEYS: delayed, unfinished, prioritized, recent, endpoints, expiring, leased.
-- ARGV: endpoint, holder, length of `recent`, how the keys of records begin, how those of copies begin; then of each job
-- its id, tag ("" if its lease is not in this Redis), when it is due (s), record, message ("" if it is in `leased`),
-- seconds to live, when it was submitted (s), expires at ("" for never), sign of its score in `prioritized` ("" for a normal
-- job).
-- Returns for each job: 'delayed'; 'due' if it can run; 'ended'; 'lost' if its lease was lost. Last, why some of the
-- bookkeeping failed ("" if none did).
--@ parts platform/even_if_full platform/now jobs/status platform/try_call queues/leases

local delayed, unfinished, prioritized, recent, endpoints, expiring, leased = unpack(KEYS)
local endpoint, holder, most_recent, record_prefix, copy_prefix = unpack(ARGV, 1, 5)

local function message_of(tag)
  local found = redis.call('HGET', leased, tag)
  return string.sub(found, string.find(found, '\n', 1, true) + 1)
end

-- The first message under an id counts: a later message with the same id does not change the job.
local function delay(job_id, tag, not_before, record, message, ttl, submitted_at, expires_at, priority)
  redis.call('ZADD', delayed, 'NX', not_before, job_id)
  not_before = redis.call('ZSCORE', delayed, job_id)
  redis.call('SET', copy_prefix .. job_id, message ~= '' and message or message_of(tag), 'EX', ttl, 'NX')
  redis.call('EXPIRE', copy_prefix .. job_id, ttl)
  if status_of(record_of(record_prefix .. job_id)) == 'QUEUED' then
    redis.call('EXPIRE', record_prefix .. job_id, ttl)
  else
    redis.call('SET', record_prefix .. job_id, record, 'EX', ttl)
    try_call('ZADD', recent, 'NX', submitted_at, job_id)
    try_call('ZREMRANGEBYRANK', recent, 0, -1 - tonumber(most_recent))
    try_call('EXPIRE', recent, ttl)
  end
  -- The score is when it is due, so that the sweeper does not mistake it for lost before.
  try_call('ZADD', unfinished, not_before, job_id)
  try_call('SADD', endpoints, endpoint)
  if priority ~= '' then try_call('ZADD', prioritized, priority * not_before, job_id) end
  if expires_at ~= '' then try_call('ZADD', expiring, 'NX', expires_at, job_id) end
end

local tags, answers = {}, {}
for at = 6, #ARGV, 9 do tags[#tags + 1] = ARGV[at + 1] end
local held = states(holder, tags)
for i, tag in ipairs(tags) do
  local at = 6 + 9 * (i - 1)
  local job_id, not_before = ARGV[at], tonumber(ARGV[at + 2])
  local status = status_of(record_of(record_prefix .. job_id))
  if tag ~= '' and held[i] ~= 'mine' then
    answers[i] = 'lost'
  elseif terminal(status) then
    answers[i] = 'ended'
  elseif not_before <= now or status == 'STARTED' then
    answers[i] = 'due'
  else
    delay(unpack(ARGV, at, at + 8))
    answers[i] = 'delayed'
  end
  if tag ~= '' and (answers[i] == 'ended' or answers[i] == 'delayed') then end_leases({tag}) end
end
answers[#tags + 1] = refused
return answers
