-- Notes a job that is to be submitted later, because its queue is full or its endpoint doesn't exist. A job that is noted
-- already, by a process that was lost then, stays as it is: its times count from the first note.
-- KEYS: the notes that are due, the note. ARGV: name of the note, the job, seconds after which it is due, 1 if its
-- endpoint doesn't exist.
--@ parts platform/even_if_full platform/now
--@ constants workers.successors.notes UNKNOWN_SINCE
local due_notes, note = unpack(KEYS)
local note_id, job, seconds, is_unknown = unpack(ARGV)
if redis.call('HSETNX', note, 'job', job) == 1 then
  redis.call('HSET', note, 'at', now)
  if is_unknown == '1' then redis.call('HSET', note, UNKNOWN_SINCE, now) end
end
redis.call('ZADD', due_notes, 'NX', now + seconds, note_id)
