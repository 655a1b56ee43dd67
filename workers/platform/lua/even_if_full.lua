-- The beginning of a script that also runs where Redis has reached its `maxmemory`. Redis asks that of a script's first
-- write alone, and only if that could take memory. What ends jobs has to run then, or no memory would come free ever.
-- (Redis 6.2 and 7.0, where full, refuse every command of a transaction, also what makes room: so there are none here.)
--@ constants workers.keys NOTHING
redis.call('DEL', NOTHING)
