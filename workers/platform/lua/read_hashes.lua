-- KEYS: hashes. Returns the names and values of each by turns; none of a key that is no hash, or may not be read.
local answers = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('HGETALL', key)
  answers[i] = found.err and {} or found
end
return answers
