-- Lua function: schedules a receiver for its next attempt, at `not_before` at the earliest.
--@ constants workers.keys webhooks_due WEBHOOK_RECEIVERS
local function schedule_receiver(receiver, not_before)
  local first = tonumber(redis.call('ZRANGE', webhooks_due_prefix .. receiver, 0, 0, 'WITHSCORES')[2])
  if first then
    redis.call('ZADD', WEBHOOK_RECEIVERS, math.max(first, not_before), receiver)
  else
    redis.call('ZREM', WEBHOOK_RECEIVERS, receiver)
  end
  return first
end
