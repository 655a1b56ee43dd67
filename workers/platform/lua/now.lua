-- The time by Redis's clock (s since the epoch).
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
