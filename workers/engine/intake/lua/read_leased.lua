-- KEYS: leased. ARGV: holder, tag. Returns the leased message, false if the holder has no lease on it.
--@ parts queues/leases

local holder, tag = unpack(ARGV)
return states(holder, {tag})[1] == 'mine' and redis.call('HGET', KEYS[1], tag)
