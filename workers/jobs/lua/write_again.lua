-- WAIT is about what its connection has written. A repeat writes nothing, and its first request may have been answered
-- that too few replicas have the job: so it writes a key again as it is.
local function write_again(key)
  local value = redis.pcall('GET', key)
  if type(value) == 'string' then redis.call('SET', key, value, 'KEEPTTL') end
end
