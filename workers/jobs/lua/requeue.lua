-- KEYS: the records. ARGV: the worker, seconds to live, then the record of each job as it is when queued.
-- A job that this worker has begun and could not end is queued again, as if it had not begun.
--@ parts platform/even_if_full jobs/status

local worker, ttl = unpack(ARGV, 1, 2)
for i = 1, #KEYS do
  local record = record_of(KEYS[i])
  local mine = record and string.match(record, '"hostname": ?"([^"]*)"') == worker
  if mine and status_of(record) == 'STARTED' then
    redis.call('SET', KEYS[i], ARGV[i + 2], 'EX', ttl)
  end
end
