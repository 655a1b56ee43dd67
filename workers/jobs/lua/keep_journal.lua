-- Lua function of an endpoint, what answered its jobs, their records, what is kept beside each, and a limit in bytes: adds
-- the jobs to the stream of the journal. If there is no room, they are counted and left out: no job waits for the journal.
--@ constants workers.keys JOURNAL JOURNAL_COUNTS LIMITS
--@ constants workers.jobs.endings.journal STREAM_BYTES ADDED_PREFIX DROPPED_PREFIX BYTES_BESIDE_ENTRY MOST_ENTRIES STREAM_SHARE_OF_QUEUE_BYTES
local function keep_journal(endpoint, answered_by, records, beside, most_bytes)
  local lines = {}
  for i, record in ipairs(records) do lines[2 * i - 1], lines[2 * i] = record, beside[i] end
  local jobs = table.concat(lines, '\n')
  local bytes = #endpoint + #answered_by + #jobs + BYTES_BESIDE_ENTRY
  local queue_bytes = tonumber(redis.call('HGET', LIMITS, ':bytes') or nil)
  most_bytes = math.min(tonumber(most_bytes), queue_bytes and queue_bytes * STREAM_SHARE_OF_QUEUE_BYTES or math.huge)
  local held = tonumber(redis.call('HGET', JOURNAL_COUNTS, STREAM_BYTES) or 0)
  if held + bytes > most_bytes or redis.call('XLEN', JOURNAL) >= MOST_ENTRIES then
    redis.call('HINCRBY', JOURNAL_COUNTS, DROPPED_PREFIX .. endpoint, #records)
    return
  end
  redis.call('XADD', JOURNAL, '*', 'endpoint_name', endpoint, 'answered_by', answered_by, 'jobs', jobs)
  redis.call('HINCRBY', JOURNAL_COUNTS, STREAM_BYTES, bytes)
  redis.call('HINCRBY', JOURNAL_COUNTS, ADDED_PREFIX .. endpoint, #records)
end
