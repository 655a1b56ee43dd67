-- KEYS: swept. ARGV: for how many ms no other worker begins a round. Returns whether this worker begins it.
--@ parts platform/even_if_full

return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])
