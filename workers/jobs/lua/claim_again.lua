-- KEYS: the record. ARGV: what it is expected to be, the new record, seconds to live.
--@ parts platform/even_if_full jobs/status

local record_key = KEYS[1]
local expected_record, new_record, ttl = unpack(ARGV)
if record_of(record_key) ~= expected_record then return 0 end
redis.call('SET', record_key, new_record, 'EX', ttl)
return 1
