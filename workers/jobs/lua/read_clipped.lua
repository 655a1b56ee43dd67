-- KEYS: records. ARGV: the most bytes of a record that is read whole, and of its head and tail otherwise.
-- Returns for each its pieces, none if the key holds something else, false if there is none.

local whole_bytes, head_bytes = unpack(ARGV)
local found = {}
for i, name in ipairs(KEYS) do
  local length = redis.pcall('STRLEN', name)
  if type(length) == 'table' then
    found[i] = {}
  elseif length == 0 then
    found[i] = false
  elseif length <= tonumber(whole_bytes) then
    found[i] = {redis.call('GET', name)}
  else
    found[i] = {redis.call('GETRANGE', name, 0, head_bytes - 1), redis.call('GETRANGE', name, -whole_bytes, -1)}
  end
end
return found
