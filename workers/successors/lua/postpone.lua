-- KEYS: the notes that are due. ARGV: name of the note, seconds after which it is due again.
--@ parts platform/even_if_full platform/now
local due_notes, note_id, seconds = KEYS[1], unpack(ARGV)
redis.call('ZADD', due_notes, 'XX', now + seconds, note_id)
