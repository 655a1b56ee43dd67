-- KEYS: leases. ARGV: tag. Returns whether anybody holds it.
--@ parts platform/now

return tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0') > now and 1 or 0
