-- KEYS: leases, heads, unfinished. ARGV: seconds, queue, submit time of the last job by its submitter's clock ("" if
-- unknown), job ids. The time of the head is Redis's, unless the job has no record.
--@ parts platform/even_if_full platform/now

local leases, heads, unfinished = unpack(KEYS)
local lease_s, queue, submitted_at = unpack(ARGV, 1, 3)
for i = 4, #ARGV do redis.call('ZADD', leases, now + lease_s, ARGV[i]) end
local queued_at = redis.pcall('ZSCORE', unfinished, ARGV[#ARGV])
if type(queued_at) ~= 'string' then queued_at = submitted_at end
-- A delayed job does not show how far the queue was read.
if queued_at ~= '' and tonumber(queued_at) <= now then redis.call('HSET', heads, queue, queued_at) end
