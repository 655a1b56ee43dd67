-- Lua function: how many high jobs an endpoint has, and how many low ones; `levels` is its key. Jobs whose time is
-- later than `until_s` are delayed and don't count.
local function levels_of(levels, until_s)
  if redis.call('ZCARD', levels) == 0 then return 0, 0 end
  return redis.call('ZCOUNT', levels, -until_s, 0), redis.call('ZCOUNT', levels, 0, until_s)
end
