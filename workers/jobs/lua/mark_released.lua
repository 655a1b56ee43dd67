-- KEYS: delayed, unfinished. ARGV: job id. Records that the job's message was sent to its queue.
--@ parts platform/even_if_full platform/now

local delayed, unfinished = unpack(KEYS)
local job_id = ARGV[1]
redis.call('ZREM', delayed, job_id)
redis.pcall('ZADD', unfinished, 'XX', now, job_id)
