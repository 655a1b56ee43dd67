-- KEYS: the stream of pairs, the counts of the trial.
-- ARGV: trial, endpoint, most entries of the stream, seconds to live of the counts, then the pairs as JSON.
-- Entries that were read are deleted by their readers, so what goes here was not read.

local pairs_stream, counts = unpack(KEYS)
local trial_id, endpoint_name, most, counts_ttl = unpack(ARGV, 1, 4)
local before = redis.call('XLEN', pairs_stream)
for i = 5, #ARGV do
  redis.call('XADD', pairs_stream, 'MAXLEN', '~', most, '*', 'trial_id', trial_id, 'endpoint_name', endpoint_name, 'pair', ARGV[i])
end
local dropped = before + #ARGV - 4 - redis.call('XLEN', pairs_stream)
if dropped > 0 then
  redis.call('HINCRBY', counts, 'shadow.dropped', dropped)
  redis.call('EXPIRE', counts, counts_ttl)
end
