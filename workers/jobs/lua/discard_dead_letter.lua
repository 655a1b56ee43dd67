-- KEYS: dead letters, one letter. ARGV: its job id; its member of KEPT_INPUTS, "" for a job that was given up. Returns
-- whether it was there.
--@ parts jobs/forget_inputs

local dead_letters, letter = unpack(KEYS)
local job_id, member = unpack(ARGV)
redis.call('ZREM', dead_letters, job_id)
local was_there = redis.call('EXISTS', letter)
if member ~= '' then forget_inputs({member}) end
redis.call('DEL', letter)
return was_there
