--@ parts queues/leases
local leased_messages = KEYS[1]
local function give_back(tag)
  local leased = redis.call('HGET', leased_messages, tag)
  end_leases({tag})
  if leased then
    local at = string.find(leased, '\n', 1, true)
    redis.call('RPUSH', string.sub(leased, 1, at - 1), string.sub(leased, at + 1))
  end
  return leased
end
