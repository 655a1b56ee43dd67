-- Stores jobs of one call with their messages in one step, or none of them. A call of many jobs comes in several steps.
--
-- KEYS: unfinished, priorities, recent, endpoints, expiring, limits, callbacks, delayed, weights; the owner's jobs
-- ("" for jobs without an owner), idempotency key ("" for none), the key that exists while messages of the first request
-- under it are being sent to another broker ("" for none); then of each job its record and the copy of its message.
-- ARGV: endpoint, seconds to live, length of `recent`, most unfinished jobs ("" for what `limits` says), "1" to ask
-- whether there is room (otherwise an earlier step has), digest of the request, seconds to live of the idempotency key,
-- id of the call's first job, id of the call, seconds that sending may take, when the jobs are due ("" for jobs
-- without delay, which go into their queues), when they were submitted by the caller's clock, time after which jobs in
-- `unfinished` are delayed and not before these, the room that the whole call needs (`weights.asked`), what a repeat of
-- the request returns: "job" (the first one), or "call" (what is missing of it is stored), and "1" if the caller waits
-- for replicas; then of each job its id, record, message, submitted at, expires at ("" for never), queue ("" for one in
-- another broker), sign of its score in `priorities` ("" for a normal job), its callback ("" for none), and the plan of
-- its successors ("" for none).
-- Returns a result and its details:
--   'accepted', for a call of one job the unfinished jobs before it, and of them high and low (0 for a call of many);
--   then the numbers of the jobs that are new;
--   'repeated', 'conflict' or 'sending', and the id of the first request's job;
--   or why there is no room, and numbers that say more.
-- An idempotency key is forgotten with the record of its job. Scores in `unfinished` and `priorities` are Redis's
-- time, which follows the order of the queue, or when the job is due. A call whose first job is there was accepted
-- before, and its answer was lost. Commands that may fail, on keys of a wrong type, run before anything is stored.
--@ parts jobs/status platform/try_call platform/clock measures/count_by_priority jobs/weigh jobs/write_again
--@ constants workers.keys record SUCCESSORS

local unfinished, priorities, recent, endpoints, expiring, limits, callbacks, delayed, weights = unpack(KEYS, 1, 9)
local owned, idempotency_key, sending_key = unpack(KEYS, 10, 12)
local endpoint, ttl, most_recent, most_jobs, asks_for_room, digest, key_ttl, first_id = unpack(ARGV, 1, 8)
local call_id, sending_s, due, submitted_at, until_s, asked, repeats, is_replicated = unpack(ARGV, 9, 16)
local FIXED_KEYS, FIXED_ARGV, OF_JOB = 12, 16, 9
local jobs, is_delayed = (#ARGV - FIXED_ARGV) / OF_JOB, due ~= ''
asked = cjson.decode(asked)

-- What stands under the idempotency key, if its job still has a record.
local is_repeat = false
if idempotency_key ~= '' then
  local known_digest, known_id = string.match(record_of(idempotency_key) or '', '^(%S+) (.+)$')
  is_repeat = known_digest and redis.call('EXISTS', record_prefix .. known_id) == 1
  if is_repeat and known_digest ~= digest then return {'conflict', known_id} end
  local sender = is_repeat and sending_key ~= '' and redis.call('GET', sending_key)
  if sender and (repeats == 'job' or sender ~= call_id) then return {'sending', known_id} end
  if is_repeat and repeats == 'job' then
    if is_replicated == '1' then write_again(idempotency_key) end
    return {'repeated', known_id}
  end
end
local is_sent_again = redis.call('EXISTS', KEYS[FIXED_KEYS + 1]) == 1
if is_sent_again and repeats == 'job' then
  if is_replicated == '1' then write_again(KEYS[FIXED_KEYS + 1]) end
  return {'repeated', first_id}
end

local count = redis.call('ZCARD', unfinished)
if asks_for_room == '1' and not is_repeat and not is_sent_again then
  local why, number, most =
    no_room(weights, limits, delayed, endpoint, count, tonumber(most_jobs), asked, is_delayed)
  if why then return {why, tostring(number), tostring(most)} end
end
-- The queue position of one job; a call of many has none.
local before, highs, lows = 0, 0, 0
if repeats == 'job' then
  before = redis.call('ZCOUNT', unfinished, '-inf', until_s)
  highs, lows = count_by_priority(priorities, until_s)
end

local answer = {'accepted', before, highs, lows}
local now, new = clock(submitted_at), {}
local due_at, submits, weighed, expiries, scores, queues, messages_of, hooks = {}, {}, {}, {}, {}, {}, {}, {}
local plans = {}
for i = 0, jobs - 1 do
  local at = FIXED_ARGV + OF_JOB * i
  local job_id, _, message, submitted, expires_at, queue, sign, callback, plan =
    unpack(ARGV, at + 1, at + OF_JOB)
  local is_stored = is_sent_again
  if i > 0 then is_stored = redis.call('EXISTS', KEYS[FIXED_KEYS + 2 * i + 1]) == 1 end
  if not is_stored then
    local n = #new
    new[n + 1], answer[n + 5] = i, i
    -- Scores are a microsecond apart, so that jobs keep their order.
    local score = is_delayed and due or now + i / 1e6
    due_at[2 * n + 1], due_at[2 * n + 2] = score, job_id
    submits[2 * n + 1], submits[2 * n + 2] = submitted, job_id
    weighed[3 * n + 1], weighed[3 * n + 2], weighed[3 * n + 3] = job_id, #message, sign
    if expires_at ~= '' then expiries[#expiries + 1], expiries[#expiries + 2] = expires_at, job_id end
    if sign ~= '' then scores[#scores + 1], scores[#scores + 2] = sign * score, job_id end
    if plan ~= '' then plans[#plans + 1], plans[#plans + 2] = job_id, plan end
    if callback ~= '' then hooks[#hooks + 1], hooks[#hooks + 2] = job_id, callback end
    if queue ~= '' and not is_delayed then
      if not messages_of[queue] then queues[#queues + 1], messages_of[queue] = queue, {} end
      table.insert(messages_of[queue], message)
    end
  end
end
local function remember()
  if idempotency_key ~= '' and not is_repeat then
    redis.call('SET', idempotency_key, digest .. ' ' .. first_id, 'EX', key_ttl)
  end
end
if #new == 0 then
  remember()
  if is_replicated == '1' then write_again(KEYS[FIXED_KEYS + 1]) end
  return answer
end

-- With several queues, check the type of all before any is filled; one queue fails by itself. (Some users lack LLEN.)
for i = 1, #queues > 1 and #queues or 0 do
  local length = redis.pcall('LLEN', queues[i])
  if type(length) == 'table' and string.match(length.err, '^WRONGTYPE') then return length end
end
if #scores > 0 then redis.call('ZCARD', priorities) end
redis.call('SADD', endpoints, endpoint)
if #expiries > 0 then redis.call('ZADD', expiring, unpack(expiries)) end
if #hooks > 0 then redis.call('HSET', callbacks, unpack(hooks)) end
if #plans > 0 then redis.call('HSET', SUCCESSORS, unpack(plans)) end
if is_delayed then redis.call('ZADD', delayed, unpack(due_at)) end
for _, queue in ipairs(queues) do redis.call('LPUSH', queue, unpack(messages_of[queue])) end

for _, i in ipairs(new) do
  local at = FIXED_ARGV + OF_JOB * i
  redis.call('SET', KEYS[FIXED_KEYS + 2 * i + 1], ARGV[at + 2], 'EX', ttl)
  redis.call('SET', KEYS[FIXED_KEYS + 2 * i + 2], ARGV[at + 3], 'EX', ttl)
end
remember()
redis.call('ZADD', unfinished, unpack(due_at))
weigh(weights, asked.owner, weighed)
if #scores > 0 then redis.call('ZADD', priorities, unpack(scores)) end
local function list_recent(list)
  try_call('ZADD', list, unpack(submits))
  try_call('ZREMRANGEBYRANK', list, 0, -1 - tonumber(most_recent))
  try_call('EXPIRE', list, ttl)
end
list_recent(recent)
if owned ~= '' then list_recent(owned) end
if sending_key ~= '' and not is_delayed then redis.call('SET', sending_key, call_id, 'EX', sending_s) end
return answer
