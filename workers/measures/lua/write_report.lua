-- KEYS: workers, reports, served. ARGV: worker, report, age in seconds at which others are forgotten, and pairs of
-- endpoint and revision that the worker serves. Returns the names of those that are forgotten with this.
--@ parts platform/even_if_full platform/now

local workers, reports, served = unpack(KEYS)
local worker, report, forgotten_after_s = unpack(ARGV, 1, 3)
redis.call('ZADD', workers, now, worker)
redis.call('HSET', reports, worker, report)
local gone = redis.call('ZRANGEBYSCORE', workers, '-inf', now - forgotten_after_s)
if #gone > 0 then
  redis.call('ZREM', workers, unpack(gone))
  redis.call('HDEL', reports, unpack(gone))
end
for pair = 4, #ARGV, 2 do
  local endpoint, revision = ARGV[pair], ARGV[pair + 1]
  redis.call('HSET', served, endpoint, revision)
end
return gone
