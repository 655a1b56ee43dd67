-- ARGV: token, the claimed range, bytes of its entries, number of fields to count; then field and number of each; then the
-- ids of the entries. Takes the entries, which are in files now, out of the stream. Returns 0 if another process has the
-- right to write by now: that one writes the same files again, and ends the move.
--@ parts platform/even_if_full journal/holds_writer
--@ constants workers.keys JOURNAL JOURNAL_COUNTS JOURNAL_MOVING
--@ constants workers.jobs.endings.journal STREAM_BYTES
local token, range, bytes, fields = unpack(ARGV, 1, 4)
if not holds_writer(token) or redis.call('GET', JOURNAL_MOVING) ~= range then return 0 end
for at = 5, 4 + 2 * fields, 2 do redis.call('HINCRBY', JOURNAL_COUNTS, ARGV[at], ARGV[at + 1]) end
local AT_ONCE = 1000
for at = 5 + 2 * fields, #ARGV, AT_ONCE do
  redis.call('XDEL', JOURNAL, unpack(ARGV, at, math.min(at + AT_ONCE - 1, #ARGV)))
end
if redis.call('XLEN', JOURNAL) == 0 then
  redis.call('HDEL', JOURNAL_COUNTS, STREAM_BYTES)
else
  redis.call('HINCRBY', JOURNAL_COUNTS, STREAM_BYTES, -bytes)
end
redis.call('DEL', JOURNAL_MOVING)
return 1
