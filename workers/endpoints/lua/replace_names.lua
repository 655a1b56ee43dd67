-- KEYS: names. ARGV: the field of the note of this reading, the note, then the names of the endpoints that take jobs.
-- Replaces all names at once, so that nobody sees none.
--@ parts platform/even_if_full

local names = unpack(KEYS)
local reading, note = unpack(ARGV, 1, 2)
redis.call('DEL', names)
redis.call('HSET', names, reading, note)
for number = 3, #ARGV do
  redis.call('HSET', names, ARGV[number], 1)
end
