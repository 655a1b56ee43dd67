-- KEYS: dead letters, one letter. ARGV: its job id. Returns whether it was there.

local dead_letters, letter = unpack(KEYS)
redis.call('ZREM', dead_letters, ARGV[1])
return redis.call('DEL', letter)
