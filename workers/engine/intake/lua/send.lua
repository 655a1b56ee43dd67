-- KEYS: a queue. ARGV: a message.
--@ parts platform/even_if_full

redis.call('LPUSH', KEYS[1], ARGV[1])
