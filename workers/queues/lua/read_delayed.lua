-- KEYS: delayed. Returns of each how many jobs are delayed, and when the first is due ("" without any); a key that is no
-- zset, or may not be read, has none.
local answers = {}
for _, key in ipairs(KEYS) do
  local first = redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  local is_any = not first.err and #first > 0
  answers[#answers + 1] = is_any and redis.call('ZCARD', key) or 0
  answers[#answers + 1] = is_any and first[2] or ''
end
return answers
