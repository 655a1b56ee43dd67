-- KEYS: reading. ARGV: message, holder, seconds to live, how many readers give the message up.
-- Returns how many workers have begun to read it and not finished, including this one.
--@ parts platform/even_if_full

local reading = KEYS[1]
local message, holder, ttl, most_readers = unpack(ARGV)
local readers, names = {}, redis.call('HGET', reading, message) or ''
for name in string.gmatch(names, '%S+') do
  if name ~= holder then readers[#readers + 1] = name end
end
readers[#readers + 1] = holder
if #readers <= tonumber(most_readers) then
  redis.call('HSET', reading, message, table.concat(readers, ' '))
  redis.call('EXPIRE', reading, ttl)
end
return #readers
