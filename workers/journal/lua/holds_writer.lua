-- Lua function of a token: whether this process still has the right to write the files of the journal.
--@ constants workers.keys JOURNAL_WRITER
local function holds_writer(token) return redis.call('GET', JOURNAL_WRITER) == token end
