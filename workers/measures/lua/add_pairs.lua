-- KEYS: the counts of a trial. ARGV: its id, endpoint, most pairs of the stream, field and seconds to live of the counts; then
-- the pairs. Adds the pairs to the stream, from which the oldest go when it is full. As readers delete what they have read,
-- these were not read: they are counted.
--@ constants workers.keys PAIRS
local trial_id, endpoint, most, dropped_field, ttl = unpack(ARGV, 1, 5)
local before = redis.call('XLEN', PAIRS)
for at = 6, #ARGV do
  redis.call('XADD', PAIRS, 'MAXLEN', '~', most, '*', 'trial_id', trial_id, 'endpoint_name', endpoint, 'pair', ARGV[at])
end
local dropped = before + #ARGV - 5 - redis.call('XLEN', PAIRS)
if dropped > 0 then
  redis.call('HINCRBY', KEYS[1], dropped_field, dropped)
  redis.call('EXPIRE', KEYS[1], ttl)
end
