-- KEYS: receivers. Returns for how long the first that is due has been (s), as text.
--@ constants workers.keys webhooks_due

local time, first = redis.call('TIME'), nil
for _, receiver in ipairs(redis.call('ZRANGE', KEYS[1], 0, 999)) do
  local at = tonumber(redis.call('ZRANGE', webhooks_due_prefix .. receiver, 0, 0, 'WITHSCORES')[2])
  if at and (not first or at < first) then first = at end
end
return string.format('%.3f', math.max(0, time[1] + time[2] / 1e6 - (first or 1e12)))
