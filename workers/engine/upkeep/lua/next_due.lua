-- KEYS: the delayed jobs of endpoints. Returns, for each that has some, its number among the keys and in how many seconds
-- the first job is due (as text). A key of the wrong type counts as empty: it concerns one endpoint.
--@ parts platform/now

local found = {}
for i, delayed in ipairs(KEYS) do
  local first = redis.pcall('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if not first.err and first[2] then
    found[#found + 1] = i
    found[#found + 1] = tostring(first[2] - now)
  end
end
return found
