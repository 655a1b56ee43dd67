-- KEYS: leased, leases. ARGV: how many at most. Returns how many leases had run out.
-- The last ones are given back first, so that of all, in however many steps, the oldest is next in the queue.
--@ parts platform/now engine/intake/give_back_one

local leased_messages, leases = unpack(KEYS)
local most = ARGV[1]
local tags = redis.call('ZREVRANGEBYSCORE', leases, now, '-inf', 'LIMIT', 0, most)
for _, tag in ipairs(tags) do give_back(tag) end
return #tags
