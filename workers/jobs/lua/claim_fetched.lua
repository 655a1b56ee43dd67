-- Lua function for the script that fetches messages: claims a job whose message it has just leased, and returns whether.
-- Only a job that is queued, due and not expired by its record, in the form that `accept` stores; any other job is
-- left to `claim`. `attempt` is the text of the new record's `result`, `started_at` (s) and `ttl_s` are numbers as text.
--@ parts jobs/status
--@ constants workers.keys record
--@ constants workers.jobs.records QUEUED_BEGINNING
local function claim_fetched(job_id, attempt, started_at, ttl_s)
  local record = record_of(record_prefix .. job_id)
  if not record or string.sub(record, 1, #QUEUED_BEGINNING) ~= QUEUED_BEGINNING then return false end
  if string.find(record, ', "not_before": ', 1, true) then return false end
  local expires_at = string.match(record, ', "expires_at": ([%d.]+)')
  if expires_at and tonumber(expires_at) <= tonumber(started_at) then return false end
  local facts = string.gsub(string.sub(record, #QUEUED_BEGINNING + 1, -2), ', "expires_at": [^,]*', '', 1)
  local started = '{"status": "STARTED", "result": ' .. attempt .. facts .. ', "started_at": ' .. started_at
  return redis.pcall('SET', record_prefix .. job_id, started .. ', "attempts": 1, "failures": []}', 'EX', ttl_s).ok ~= nil
end
