-- Lua function: how many high jobs an endpoint has, and how many low ones; `prioritized` is its key. Jobs whose time is
-- later than `until_s` are delayed and don't count.
local function count_by_priority(prioritized, until_s)
  if redis.call('ZCARD', prioritized) == 0 then return 0, 0 end
  return redis.call('ZCOUNT', prioritized, -until_s, 0), redis.call('ZCOUNT', prioritized, 0, until_s)
end
