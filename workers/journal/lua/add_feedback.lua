-- ARGV: most bytes of the stream; then endpoint and feedback (JSON, one a line) of each entry. Adds all entries to the
-- stream of the journal and returns 1, or adds none and returns 0 if there is no room: what is accepted is not lost.
--@ parts platform/even_if_full
--@ constants workers.keys JOURNAL JOURNAL_COUNTS LIMITS
--@ constants workers.jobs.endings.journal STREAM_BYTES FEEDBACK_PREFIX BYTES_BESIDE_ENTRY MOST_ENTRIES STREAM_SHARE_OF_QUEUE_BYTES
local queue_bytes = tonumber(redis.call('HGET', LIMITS, ':bytes') or nil)
local most_bytes = math.min(tonumber(ARGV[1]), queue_bytes and queue_bytes * STREAM_SHARE_OF_QUEUE_BYTES or math.huge)
local bytes = 0
for i = 2, #ARGV, 2 do bytes = bytes + #ARGV[i] + #ARGV[i + 1] + BYTES_BESIDE_ENTRY end
local held = tonumber(redis.call('HGET', JOURNAL_COUNTS, STREAM_BYTES) or 0)
if held + bytes > most_bytes or redis.call('XLEN', JOURNAL) >= MOST_ENTRIES then return 0 end
for i = 2, #ARGV, 2 do
  redis.call('XADD', JOURNAL, '*', 'endpoint_name', ARGV[i], 'feedback', ARGV[i + 1])
  redis.call('HINCRBY', JOURNAL_COUNTS, FEEDBACK_PREFIX .. ARGV[i], 1)
end
redis.call('HINCRBY', JOURNAL_COUNTS, STREAM_BYTES, bytes)
return 1
