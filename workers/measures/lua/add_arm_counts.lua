-- KEYS: the counts of a trial. ARGV: seconds to live; then field and number of each. Adds to the counts.
--@ parts platform/even_if_full
local counts, ttl = KEYS[1], ARGV[1]
for at = 2, #ARGV, 2 do redis.call('HINCRBY', counts, ARGV[at], ARGV[at + 1]) end
redis.call('EXPIRE', counts, ttl)
