-- KEYS: the notes that are due, the note. ARGV: its name. Forgets a note: all that it says is published.
--@ parts platform/even_if_full
local due_notes, note = unpack(KEYS)
redis.call('ZREM', due_notes, ARGV[1])
redis.call('DEL', note)
