-- Notes since when the endpoint of a job doesn't exist that is to be submitted.
-- KEYS: the note. Returns for how long that is so (s).
--@ parts platform/even_if_full platform/now
local note = KEYS[1]
redis.call('HSETNX', note, 'unknown_since', now)
return tostring(now - redis.call('HGET', note, 'unknown_since'))
