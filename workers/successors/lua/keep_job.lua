-- Notes a job that is to be submitted later, because its queue is full.
-- KEYS: the notes that are due, the note. ARGV: name of the note, the job, seconds after which it is due.
--@ parts platform/even_if_full platform/now
local due_notes, note = unpack(KEYS)
local note_id, job, seconds = unpack(ARGV)
redis.call('HSET', note, 'job', job, 'at', now)
redis.call('ZADD', due_notes, now + seconds, note_id)
