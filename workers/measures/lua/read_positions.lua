-- KEYS: unfinished, prioritized. ARGV: time (s) after which jobs are delayed and don't count, then ids of queued jobs.
-- Returns how many jobs are unfinished, and of them high and low; then of each job its priority (-1 high, 1 low) and how
-- many of its priority were submitted before it (-1 if it is not there).
-- A worker of an earlier release leaves ended jobs in `prioritized`: they go when they are the oldest.
--@ parts measures/count_by_priority

local unfinished, prioritized = unpack(KEYS)
local until_s = tonumber(ARGV[1])
local function tidy(the_oldest)
  for _ = 1, 200 do
    local oldest = the_oldest()[1]
    if not oldest or redis.call('ZSCORE', unfinished, oldest) then return end
    redis.call('ZREM', prioritized, oldest)
  end
end
local several = redis.call('EXISTS', prioritized) == 1
if several then
  tidy(function() return redis.call('ZREVRANGEBYSCORE', prioritized, 0, '-inf', 'LIMIT', 0, 1) end)
  tidy(function() return redis.call('ZRANGEBYSCORE', prioritized, 0, '+inf', 'LIMIT', 0, 1) end)
end
local highs, lows = count_by_priority(prioritized, until_s)
local answers = {redis.call('ZCOUNT', unfinished, '-inf', until_s), highs, lows}
for i = 1, #ARGV - 1 do
  local job_id = ARGV[i + 1]
  local priority, before = 0, redis.call('ZRANK', unfinished, job_id) or -1
  if several and before >= 0 then
    local own = redis.call('ZSCORE', prioritized, job_id)
    local at = redis.call('ZSCORE', unfinished, job_id)
    if own and tonumber(own) < 0 then
      priority, before = -1, redis.call('ZCOUNT', prioritized, '(' .. own, 0)
    elseif own then
      priority, before = 1, redis.call('ZCOUNT', prioritized, 0, '(' .. own)
    else
      before = before - redis.call('ZCOUNT', prioritized, '(-' .. at, 0) - redis.call('ZCOUNT', prioritized, 0, '(' .. at)
    end
  end
  answers[2 * i + 2], answers[2 * i + 3] = priority, before
end
return answers
