-- Takes due jobs, so that their messages can be sent to another broker. For some seconds no other worker takes them. If
-- the worker is lost meanwhile, another one takes those again that are still delayed.
--
-- KEYS: delayed, unfinished.
-- ARGV: time up to which jobs count as due ("" for now), most jobs to take, prefix of the keys of records, prefix of
-- those of copies, for how many seconds they are taken, bytes of messages after which no more are taken.
-- Returns whether there may be more; then ids and messages.
--@ parts platform/even_if_full platform/now jobs/status platform/try_call jobs/message_to_send

local delayed, unfinished = unpack(KEYS)
local until_s, most, record_prefix, copy_prefix, seconds, left_bytes = unpack(ARGV)

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', until_s ~= '' and until_s or now, 'LIMIT', 0, most)
local answers = {#due == tonumber(most) and 1 or 0}
for _, job_id in ipairs(due) do
  local message = message_to_send(job_id, record_prefix, copy_prefix, unfinished)
  if not message then
    redis.call('ZREM', delayed, job_id)
  elseif tonumber(left_bytes) > 0 then
    left_bytes = left_bytes - #message
    redis.call('ZADD', delayed, 'XX', now + seconds, job_id)
    answers[#answers + 1], answers[#answers + 2] = job_id, message
  else
    answers[1] = 1
    break
  end
end
return answers
