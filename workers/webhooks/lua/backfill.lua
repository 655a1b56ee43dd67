-- KEYS: callbacks, endpoints. ARGV: where to go on, about how many to look at. Returns where to go on next time.
-- Of a job that waits for longer than records live nothing is left but its message: its callback stays.
--@ parts jobs/status jobs/notify
--@ constants workers.keys unfinished record

local callbacks, endpoints = unpack(KEYS)
local cursor, count = unpack(ARGV)
local function is_unfinished(job_id)
  for _, endpoint in ipairs(redis.call('SMEMBERS', endpoints)) do
    if redis.pcall('ZSCORE', unfinished_prefix .. endpoint, job_id) then return true end
  end
  return false
end
local next_cursor, found = unpack(redis.call('HSCAN', callbacks, cursor, 'COUNT', count))
for i = 1, #found, 2 do
  local job_id = found[i]
  local record = record_of(record_prefix .. job_id)
  if terminal(status_of(record)) then
    -- Another program may have written anything.
    local is_json, facts = pcall(cjson.decode, record)
    if not is_json or type(facts) ~= 'table' then facts = {} end
    local function text(value) return type(value) == 'string' and value or '' end
    notify(text(facts.endpoint_name), {job_id}, {record}, {text(facts.owner)})
  elseif not record and not is_unfinished(job_id) then
    redis.call('HDEL', callbacks, job_id)
  end
end
return next_cursor
