-- KEYS: receivers, failing, pending. ARGV: length of the leases (s), most deliveries, most of one receiver, most
-- receivers to check. Returns the ids of jobs whose webhooks are due.
-- A receiver that has its share is looked at again when one of its attempts has ended, or after a second.
-- Entries that are out of date are dropped: another job may have had the id, and another receiver.
--@ parts platform/even_if_full platform/now webhooks/schedule_receiver
--@ constants workers.keys webhooks_due webhooks_leased delivery

local receivers, failing, pending = unpack(KEYS)
local taken_s, most_ids, most_of_receiver, most_receivers = unpack(ARGV)
local taken, most = {}, tonumber(most_ids)
for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', receivers, '-inf', now, 'LIMIT', 0, most_receivers)) do
  local due, leased = webhooks_due_prefix .. receiver, webhooks_leased_prefix .. receiver
  redis.call('ZREMRANGEBYSCORE', leased, '-inf', now)
  local share = redis.call('HEXISTS', failing, receiver) == 1 and 1 or tonumber(most_of_receiver)
  local room = math.min(share - redis.call('ZCARD', leased), most - #taken)
  local ids = room > 0 and redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, room) or {}
  local before = #taken
  for _, job_id in ipairs(ids) do
    local status, its_receiver = unpack(redis.call('HMGET', delivery_prefix .. job_id, 'status', 'receiver'))
    if status == 'pending' and its_receiver == receiver then
      redis.call('ZADD', due, now + taken_s, job_id)
      redis.call('ZADD', leased, now + taken_s, job_id)
      taken[#taken + 1] = job_id
    else
      redis.call('ZREM', due, job_id)
      if not status then redis.call('ZREM', pending, job_id) end
    end
  end
  local full = #taken - before >= room and #taken < most
  if not schedule_receiver(receiver, full and now + 1 or 0) then redis.call('HDEL', failing, receiver) end
  if #taken >= most then break end
end
return taken
