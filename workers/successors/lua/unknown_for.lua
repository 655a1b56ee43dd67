-- Notes that the endpoint of a kept job doesn't exist. KEYS: the note.
-- Returns for how many seconds it hasn't, as text.
--@ parts platform/even_if_full platform/now
--@ constants workers.successors.notes UNKNOWN_SINCE
local note = KEYS[1]
if redis.call('EXISTS', note) == 0 then return '0' end
redis.call('HSETNX', note, UNKNOWN_SINCE, now)
return tostring(now - redis.call('HGET', note, UNKNOWN_SINCE))
