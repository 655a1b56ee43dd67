-- Lua function of an endpoint, ids of ended jobs, their records and owners: stores a webhook for each job that has a
-- callback, or whose endpoint has one. Without any callback it costs one EXISTS.
--@ constants workers.keys CALLBACKS ENDPOINT_CALLBACKS delivery webhooks_of webhooks_due WEBHOOK_RECEIVERS WEBHOOKS_PENDING WEBHOOKS_ENDED WEBHOOKS_CHANNEL
--@ constants workers.jobs.endings.outbox LISTED_OF_OWNER LIST_TTL_S
local function notify(endpoint, ids, records, owners)
  if #ids == 0 or redis.call('EXISTS', CALLBACKS, ENDPOINT_CALLBACKS) == 0 then return end
  local of_endpoint = redis.call('HGET', ENDPOINT_CALLBACKS, endpoint)
  local own = redis.call('HMGET', CALLBACKS, unpack(ids))
  redis.call('HDEL', CALLBACKS, unpack(ids))
  local time, noted = redis.call('TIME'), false
  local now = time[1] + time[2] / 1e6
  for i, job_id in ipairs(ids) do
    local receiver, url = string.match(own[i] or of_endpoint or '', '^(%S+) (.+)$')
    if receiver then
      noted = true
      local name = delivery_prefix .. job_id
      redis.call('DEL', name)
      redis.call('HSET', name, 'endpoint_name', endpoint, 'owner', owners[i], 'receiver', receiver,
        'url', url, 'asked_by', own[i] and 'job' or 'endpoint', 'record', records[i], 'status', 'pending',
        'created_at', now, 'due_at', now)
      if own[i] and owners[i] ~= '' then
        local list = webhooks_of_prefix .. owners[i]
        redis.pcall('ZADD', list, now, job_id)
        redis.pcall('ZREMRANGEBYRANK', list, 0, -1 - LISTED_OF_OWNER)
        redis.pcall('EXPIRE', list, LIST_TTL_S)
      end
      redis.call('ZADD', webhooks_due_prefix .. receiver, now, job_id)
      redis.call('ZADD', WEBHOOK_RECEIVERS, 'LT', now, receiver)
      redis.call('ZADD', WEBHOOKS_PENDING, now, job_id)
      redis.call('ZREM', WEBHOOKS_ENDED, job_id)
    end
  end
  if noted then redis.call('PUBLISH', WEBHOOKS_CHANNEL, '') end
end
