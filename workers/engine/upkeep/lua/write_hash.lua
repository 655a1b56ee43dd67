-- KEYS: a hash. ARGV: field, value, and so on. (`unpack` takes no more than 7,990 of them.)
--@ parts platform/even_if_full

for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
