-- KEYS: malformed. ARGV: a message, how many are kept.
--@ parts platform/even_if_full

local malformed = KEYS[1]
local message, kept_count = unpack(ARGV)
redis.call('LPUSH', malformed, message)
redis.call('LTRIM', malformed, 0, kept_count - 1)
