-- Moves due jobs to the ends of their queues, in the order in which they are due.
--
-- KEYS: delayed, unfinished, prioritized, queues for high, normal and low.
-- ARGV: time up to which jobs count as due ("" for now), most jobs to move, prefix of the keys of records, prefix of
-- those of copies.
-- Returns whether there may be more, and why a job could not be put into its queue ("" if all could).
--@ parts platform/even_if_full jobs/status platform/try_call jobs/message_to_send

local delayed, unfinished, prioritized, high_queue, normal_queue, low_queue = unpack(KEYS)
local until_s, most, record_prefix, copy_prefix = unpack(ARGV)
local now = redis.call('TIME')
now = string.format('%.6f', now[1] + now[2] / 1e6)

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', until_s ~= '' and until_s or now, 'LIMIT', 0, most)
local released = 0
for _, job_id in ipairs(due) do
  local message, priority, is_sent = message_to_send(job_id, record_prefix, copy_prefix, unfinished), nil, true
  if message then
    priority = tonumber(try_call('ZSCORE', prioritized, job_id) or nil)
    local queue = priority and (priority < 0 and high_queue or low_queue) or normal_queue
    is_sent = try_call('LPUSH', queue, message)
  end
  if is_sent then
    released = released + 1
    redis.call('ZREM', delayed, job_id)
    try_call('ZADD', unfinished, 'XX', now, job_id)
    if priority then try_call('ZADD', prioritized, 'XX', priority < 0 and '-' .. now or now, job_id) end
  end
end
return {released == tonumber(most) and 1 or 0, refused}
