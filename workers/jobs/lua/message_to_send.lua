-- Lua function: returns the message of a job that still has to run; false if it runs, has ended or has no message.
--@ parts platform/try_call jobs/status
local function message_to_send(job_id, record_prefix, copy_prefix, unfinished)
  local status = status_of(record_of(record_prefix .. job_id))
  if not status or terminal(status) then
    try_call('ZREM', unfinished, job_id)
    return false
  end
  local message = status ~= 'STARTED' and record_of(copy_prefix .. job_id)
  return message and message ~= '' and message
end
