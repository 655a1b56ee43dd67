-- KEYS: leases, then unfinished of each endpoint. ARGV: how many jobs to look at.
-- Returns for each the time of its oldest job that no worker holds ("" if it has none). For a broker that
-- doesn't show what is in its queues.

local answers = {}
for i = 2, #KEYS do
  answers[i - 1] = ''
  local jobs = redis.pcall('ZRANGE', KEYS[i], 0, ARGV[1] - 1, 'WITHSCORES')
  for j = 1, #jobs, 2 do
    if not redis.call('ZSCORE', KEYS[1], jobs[j]) then
      answers[i - 1] = jobs[j + 1]
      break
    end
  end
end
return answers
