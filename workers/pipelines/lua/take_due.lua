-- KEYS: the due pipelines. ARGV: most of them, seconds for which others leave them alone. Returns their ids.
--@ parts platform/even_if_full platform/now

local due = KEYS[1]
local most, taken_for_s = unpack(ARGV)
local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)
for _, pipeline_id in ipairs(ids) do redis.call('ZADD', due, now + taken_for_s, pipeline_id) end
return ids
