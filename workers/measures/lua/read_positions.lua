-- KEYS: unfinished, levels. ARGV: time (s) after which jobs are delayed and don't count, then ids of queued jobs.
-- Returns how many jobs are unfinished, and of them high and low; then of each job its level (-1 high, 1 low) and how
-- many of its level were submitted before it (-1 if it is not there).
-- A worker of an earlier release leaves ended jobs in `levels`: they go when they are the oldest.
--@ parts measures/levels_of

local unfinished, levels = unpack(KEYS)
local until_s = tonumber(ARGV[1])
local function tidy(the_oldest)
  for _ = 1, 200 do
    local oldest = the_oldest()[1]
    if not oldest or redis.call('ZSCORE', unfinished, oldest) then return end
    redis.call('ZREM', levels, oldest)
  end
end
local several = redis.call('EXISTS', levels) == 1
if several then
  tidy(function() return redis.call('ZREVRANGEBYSCORE', levels, 0, '-inf', 'LIMIT', 0, 1) end)
  tidy(function() return redis.call('ZRANGEBYSCORE', levels, 0, '+inf', 'LIMIT', 0, 1) end)
end
local highs, lows = levels_of(levels, until_s)
local answers = {redis.call('ZCOUNT', unfinished, '-inf', until_s), highs, lows}
for i = 1, #ARGV - 1 do
  local job_id = ARGV[i + 1]
  local level, before = 0, redis.call('ZRANK', unfinished, job_id) or -1
  if several and before >= 0 then
    local own = redis.call('ZSCORE', levels, job_id)
    local at = redis.call('ZSCORE', unfinished, job_id)
    if own and tonumber(own) < 0 then
      level, before = -1, redis.call('ZCOUNT', levels, '(' .. own, 0)
    elseif own then
      level, before = 1, redis.call('ZCOUNT', levels, 0, '(' .. own)
    else
      before = before - redis.call('ZCOUNT', levels, '(-' .. at, 0) - redis.call('ZCOUNT', levels, 0, '(' .. at)
    end
  end
  answers[2 * i + 2], answers[2 * i + 3] = level, before
end
return answers
