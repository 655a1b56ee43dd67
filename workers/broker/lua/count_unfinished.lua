-- KEYS: unfinished. ARGV: the time (s) after which jobs are delayed and don't count. Returns how many jobs each has.
local answers = {}
for i, key in ipairs(KEYS) do answers[i] = redis.call('ZCOUNT', key, '-inf', ARGV[1]) end
return answers
