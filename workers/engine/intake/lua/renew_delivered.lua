-- KEYS: leases. ARGV: seconds, job ids. Forgets all leases that have run out, those of other workers too.
--@ parts platform/now

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
