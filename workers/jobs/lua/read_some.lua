-- KEYS: records. ARGV: the most bytes. Returns the records of the first keys that are no longer together, but one at
-- least; false for each that there is not, and an empty one for a key that holds something else.

local found, size = {}, 0
for i, name in ipairs(KEYS) do
  local length = redis.pcall('STRLEN', name)
  local is_text = type(length) == 'number'
  size = size + (is_text and length or 0)
  if i > 1 and size > tonumber(ARGV[1]) then break end
  if is_text then found[i] = redis.call('GET', name) else found[i] = '' end
end
return found
