-- KEYS: the records, then the copies of the messages, then unfinished, expiring, the endpoint's counts,
-- its latencies of this window, prioritized, weights, its figures of this minute.
-- ARGV: seconds to live of a record, of the latencies, of the minute, endpoint, holder, most bytes of kept inputs, how many
-- are to be kept, most bytes of the journal's stream, what answered the jobs, how many the journal keeps; then id, record, kind, latency ms, owner, the buckets of its latency, its wait and its prediction, and
-- its bound in the histogram, of each job (a bucket is "" if it is unknown; a kind is "" if the job is not counted); then the number of a job and its letter for
-- each input to keep; then the number of a job and what the journal keeps beside its record, of each that it keeps; then the tags of the first jobs, whose leases end with this. What another holds by now is left to it.
-- Returns 1 for each record that was written, 0 where a terminal one stood already; then what could not be done
-- beside that; and last how many of the jobs have successors, which are to be published now.
-- What is the same for all jobs is done once for all of them; `unpack` takes no more than 7,990 of them.
--@ constants workers.jobs.transitions PUBLISHED_BYTES
--@ parts platform/even_if_full jobs/status platform/try_call jobs/publish_ended jobs/notify jobs/note_successors jobs/keep_inputs queues/leases jobs/unweigh jobs/count_ended jobs/keep_journal

local jobs = (#KEYS - 7) / 2
local unfinished, expiring, counts, latencies, prioritized, weights, minute = unpack(KEYS, 2 * jobs + 1)
local ttl, latencies_ttl, minute_ttl, endpoint, holder, kept_bytes, kept_count = unpack(ARGV, 1, 7)
local journal_bytes, answered_by, journal_count = unpack(ARGV, 8, 10)
local FIXED, OF_JOB = 10, 9
local after_jobs = FIXED + OF_JOB * jobs
local after_letters = after_jobs + 2 * kept_count
local written, ids, ended, records, owners, seen, total_ms, of_kind, of_bucket = {}, {}, {}, {}, {}, {}, 0, {}, {}
local of_bound, of_total, of_queued, of_predict = {}, {}, {}, {}
local function count(table, field) table[field] = (table[field] or 0) + 1 end
local stood, copies, tags = redis.call('MGET', unpack(KEYS, 1, jobs)), {}, {unpack(ARGV, after_letters + 2 * journal_count + 1)}
local held = states(holder, tags)
local all_ids = {}
for i = 1, jobs do all_ids[i] = ARGV[FIXED + OF_JOB * (i - 1) + 1] end
local plans = plans_of(all_ids)
for i = 1, jobs do
  local at = FIXED + OF_JOB * (i - 1)
  local job_id, record, kind, latency_ms, owner, bucket, queued, predict, bound = unpack(ARGV, at + 1, at + OF_JOB)
  local has_ended = terminal(status_of(stood[i]))
  local is_anothers = held[i] == 'anothers' and not has_ended
  written[i] = 0
  if not is_anothers then ids[#ids + 1], copies[#copies + 1] = job_id, KEYS[jobs + i] end
  if not is_anothers and not has_ended and not seen[job_id] then
    seen[job_id] = true
    record = with_children(record, plans[job_id])
    redis.call('SET', KEYS[i], record, 'EX', ttl)
    redis.call('PUBLISH', KEYS[i], record)
    if kind ~= '' then count(of_kind, kind) end
    if bucket ~= '' then
      total_ms = total_ms + latency_ms
      count(of_bucket, bucket)
      -- The buckets of minutes are twice as wide.
      count(of_total, math.floor((bucket + 1) / 2))
      count(of_bound, bound)
    end
    if queued ~= '' then count(of_queued, queued) end
    if predict ~= '' then count(of_predict, predict) end
    written[i] = 1
    ended[#ended + 1] = job_id
    records[#ended], owners[#ended] = record, owner
  end
end
if #ids > 0 then
  redis.call('DEL', unpack(copies))
  try_call('ZREM', unfinished, unpack(ids))
  try_call('ZREM', expiring, unpack(ids))
  unweigh(weights, ids)
  if redis.call('EXISTS', prioritized) == 1 then try_call('ZREM', prioritized, unpack(ids)) end
end
for kind, number in pairs(of_kind) do count_ended(counts, minute, minute_ttl, kind, number) end
for bucket, number in pairs(of_bucket) do try_call('HINCRBY', latencies, bucket, number) end
for bucket, number in pairs(of_total) do try_call('HINCRBY', minute, 't' .. bucket, number) end
for bucket, number in pairs(of_queued) do try_call('HINCRBY', minute, 'q' .. bucket, number) end
for bucket, number in pairs(of_predict) do try_call('HINCRBY', minute, 'p' .. bucket, number) end
for bound, number in pairs(of_bound) do
  if try_call('HINCRBY', counts, bound, number) == number then
    -- Jobs of releases without a histogram are in `latency_ms` too.
    try_call('HSETNX', counts, 'histogram_from_ms', try_call('HGET', counts, 'latency_ms') or 0)
  end
end
if total_ms > 0 then try_call('HINCRBYFLOAT', counts, 'latency_ms', string.format('%.3f', total_ms)) end
try_call('EXPIRE', latencies, latencies_ttl)
end_mine(holder, tags)
local are_noted, noted = pcall(note_successors, plans, ended, records)
if not are_noted then refused, noted = type(noted) == 'table' and noted.err or tostring(noted), 0 end
local is_notified, why = pcall(notify, endpoint, ended, records, owners)
if not is_notified then refused = type(why) == 'table' and why.err or tostring(why) end
if kept_count ~= '0' then
  local kept_ids, letters = {}, {}
  for at = after_jobs + 1, after_letters, 2 do
    local i = tonumber(ARGV[at])
    if written[i] == 1 then kept_ids[#kept_ids + 1], letters[#letters + 1] = ARGV[FIXED + OF_JOB * (i - 1) + 1], ARGV[at + 1] end
  end
  local is_kept, whynot = pcall(keep_inputs, endpoint, kept_ids, letters, ttl, kept_bytes)
  if not is_kept then refused = type(whynot) == 'table' and whynot.err or tostring(whynot) end
end
if journal_count ~= '0' then
  local kept_records, beside = {}, {}
  for at = after_letters + 1, after_letters + 2 * journal_count, 2 do
    local i = tonumber(ARGV[at])
    if written[i] == 1 then
      kept_records[#kept_records + 1], beside[#beside + 1] = ARGV[FIXED + OF_JOB * (i - 1) + 2], ARGV[at + 1]
    end
  end
  if #kept_records > 0 then
    local is_kept, whynot = pcall(keep_journal, endpoint, answered_by, kept_records, beside, journal_bytes)
    if not is_kept then refused = type(whynot) == 'table' and whynot.err or tostring(whynot) end
  end
end
publish_ended(ended, records, PUBLISHED_BYTES)
written[jobs + 1], written[jobs + 2] = refused, noted
return written
