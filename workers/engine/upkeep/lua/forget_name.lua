-- KEYS: endpoints, unfinished, recent. ARGV: endpoint, how the keys of records begin.
-- Forgets the name of an endpoint whose newest jobs have no records any more, and which has none that is unfinished.
--@ parts platform/even_if_full

local endpoints, unfinished, recent = unpack(KEYS)
local endpoint, record_prefix = unpack(ARGV)
if redis.call('ZCARD', unfinished) > 0 then return 0 end
for _, job_id in ipairs(redis.call('ZREVRANGE', recent, 0, 9)) do
  if redis.call('EXISTS', record_prefix .. job_id) == 1 then return 0 end
end
redis.call('DEL', recent)
return redis.call('SREM', endpoints, endpoint)
