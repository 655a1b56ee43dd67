-- ARGV: token, for how long (s). Returns 1 if this process keeps the right to write the files, 0 if it has lost it.
--@ parts platform/even_if_full journal/holds_writer
local token, lease_s = unpack(ARGV)
if not holds_writer(token) then return 0 end
return redis.call('EXPIRE', JOURNAL_WRITER, lease_s)
