-- KEYS: the delivery, pending, receivers. ARGV: its id, the endpoint, the kind of event, the receiver, the URL, the body.
-- Stores the webhook of an event. Returns 1; 0 if it is stored already, because the event is announced once more.
--@ parts platform/even_if_full platform/now
--@ constants workers.keys webhooks_due WEBHOOKS_CHANNEL

local delivery, pending, receivers = unpack(KEYS)
local id, endpoint, event, receiver, url, body = unpack(ARGV)
if redis.call('EXISTS', delivery) == 1 then return 0 end
redis.call('HSET', delivery, 'endpoint_name', endpoint, 'owner', '', 'receiver', receiver, 'url', url, 'asked_by', 'event',
  'event', event, 'body', body, 'status', 'pending', 'created_at', now, 'due_at', now)
redis.call('ZADD', webhooks_due_prefix .. receiver, now, id)
redis.call('ZADD', receivers, 'LT', now, receiver)
redis.call('ZADD', pending, now, id)
redis.call('PUBLISH', WEBHOOKS_CHANNEL, '')
return 1
