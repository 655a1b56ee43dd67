-- ARGV: token, first and last id of entries. Claims these entries, unless others are claimed already, and returns what is
-- claimed. The claim stands before the first byte of a file, so that the process that goes on after a crash writes the
-- same files.
--@ parts platform/even_if_full journal/holds_writer
--@ constants workers.keys JOURNAL_MOVING
local token, range = unpack(ARGV)
if not holds_writer(token) then return '' end
redis.call('SET', JOURNAL_MOVING, range, 'NX')
return redis.call('GET', JOURNAL_MOVING)
