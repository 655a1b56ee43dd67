-- Lua functions for the scripts that accept jobs. Fields with a space are sums: no job's id has one.
-- `no_room` returns the reason why jobs are refused and its numbers, or nothing if there is room. `most` is how many
-- may be unfinished (nil: as `limits` says), `asked` the table that the Python function `asked` makes. `weigh` counts
-- new jobs: its list has id, bytes and score in `prioritized` of each job in turn.
--@ parts platform/try_call jobs/most_unfinished
--@ constants workers.jobs.weights BYTES_SUFFIX OF_FREE
local function sum_of(weights, field) return tonumber(try_call('HGET', weights, field) or 0) or 0 end

local function no_room(weights, limits, delayed, endpoint, unfinished, most, asked, is_delayed)
  most = most or tonumber(redis.call('HGET', limits, endpoint))
  local most_jobs, others = most_unfinished(most, unfinished, asked, delayed, is_delayed)
  -- If no job is unfinished, the sums are out of date and do not count.
  local owner, bytes = unfinished > 0 and asked.owner, unfinished > 0 and sum_of(weights, ' bytes') or 0
  local most_bytes = asked.most_bytes or tonumber(try_call('HGET', limits, endpoint .. BYTES_SUFFIX) or '')
    or tonumber(try_call('HGET', limits, BYTES_SUFFIX) or '')
  if most_jobs and unfinished + asked.jobs > most_jobs then
    return is_delayed and 'delayed' or 'full', unfinished - others
  end
  -- An empty queue accepts any single job, which would otherwise be refused for ever.
  if most_bytes and bytes + asked.bytes > most_bytes and (bytes > 0 or asked.jobs > 1) then
    return 'full_bytes', bytes, most_bytes
  end
  if asked.owner and asked.high > asked.most_high then return 'full_high', asked.most_high end
  if not owner then return end
  if asked.high > 0 and sum_of(weights, ' high ' .. owner) + asked.high > asked.most_high then
    return 'full_high', asked.most_high
  end
  local jobs, own_bytes = sum_of(weights, ' jobs ' .. owner), sum_of(weights, ' bytes ' .. owner)
  if jobs == 0 then return end
  if most_jobs and jobs + asked.jobs > OF_FREE * (most_jobs - unfinished - asked.jobs) then
    return 'share', jobs
  end
  if most_bytes and own_bytes + asked.bytes > OF_FREE * (most_bytes - bytes - asked.bytes) then
    return 'share_bytes', own_bytes
  end
end

local function weigh(weights, owner, jobs)
  local count, bytes, high = 0, 0, 0
  for i = 1, #jobs, 3 do
    local is_high = (tonumber(jobs[i + 2]) or 0) < 0
    local weight = jobs[i + 1] .. (is_high and ' high ' or ' - ') .. (owner or '')
    if try_call('HSETNX', weights, jobs[i], weight) == 1 then
      count, bytes, high = count + 1, bytes + jobs[i + 1], high + (is_high and 1 or 0)
    end
  end
  if count == 0 then return end
  try_call('HINCRBY', weights, ' bytes', bytes)
  if not owner then return end
  try_call('HINCRBY', weights, ' jobs ' .. owner, count)
  try_call('HINCRBY', weights, ' bytes ' .. owner, bytes)
  if high > 0 then try_call('HINCRBY', weights, ' high ' .. owner, high) end
end
