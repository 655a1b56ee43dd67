-- Lua function of an endpoint, ids and letters of its failed jobs, seconds to live and a limit in bytes: keeps the inputs
-- of these jobs beside the dead letters. The limit is for all endpoints; one may have a quarter of it. What would run out
-- first goes first, so that one endpoint costs others nothing before they have more than their share. As failed jobs must
-- make room where Redis is full, the limit is a share of its memory too (see `LIMITS`).
--@ parts jobs/forget_inputs
--@ constants workers.keys DEAD_LETTERS KEPT_INPUTS KEPT_INPUT_BYTES dead_letter kept_inputs LIMITS
--@ constants workers.jobs.dead_letters BYTES_BESIDE_INPUT SHARE_OF_ENDPOINT SHARE_OF_QUEUE_BYTES MOST_FORGOTTEN
local function keep_inputs(endpoint, ids, letters, ttl, most_bytes)
  local time = redis.call('TIME')
  local now, of_endpoint, left = time[1] + time[2] / 1e6, kept_inputs_prefix .. endpoint, MOST_FORGOTTEN
  local queue_bytes = tonumber(redis.call('HGET', LIMITS, ':bytes') or nil)
  most_bytes = math.min(tonumber(most_bytes), queue_bytes and queue_bytes * SHARE_OF_QUEUE_BYTES or math.huge)
  local function make_room(whose, members, bytes, most)
    while left > 0 and tonumber(redis.call('HGET', KEPT_INPUT_BYTES, whose) or 0) + bytes > most do
      local first = redis.call('ZRANGE', members, 0, 0)
      if #first == 0 then break end
      forget_inputs(first)
      left = left - 1
    end
    return left > 0
  end
  forget_inputs(redis.call('ZRANGEBYSCORE', KEPT_INPUTS, '-inf', now, 'LIMIT', 0, MOST_FORGOTTEN))
  for i, job_id in ipairs(ids) do
    local bytes = #letters[i] + BYTES_BESIDE_INPUT
    local fits = bytes <= most_bytes * SHARE_OF_ENDPOINT
    if fits and make_room(endpoint, of_endpoint, bytes, most_bytes * SHARE_OF_ENDPOINT)
        and make_room('', KEPT_INPUTS, bytes, most_bytes) and not redis.call('ZSCORE', DEAD_LETTERS, job_id) then
      local member = string.format('%d %s %s', bytes, endpoint, job_id)
      local until_s = string.format('%.6f', now + ttl + i / 1e6)
      redis.call('ZADD', KEPT_INPUTS, until_s, member)
      redis.call('ZADD', of_endpoint, until_s, member)
      redis.call('HINCRBY', KEPT_INPUT_BYTES, endpoint, bytes)
      redis.call('HINCRBY', KEPT_INPUT_BYTES, '', bytes)
      redis.call('SET', dead_letter_prefix .. job_id, letters[i], 'EX', ttl)
    end
  end
end
