-- Lua function for the scripts that end jobs: removes the jobs with these ids from the sums.
--@ parts platform/try_call jobs/add_weight
local function unweigh(weights, ids)
  local found, counted, seen, sums = try_call('HMGET', weights, unpack(ids)) or {}, {}, {}, {}
  for i, weight in ipairs(found) do
    if weight and not seen[ids[i]] then
      seen[ids[i]] = true
      counted[#counted + 1] = ids[i]
      add_weight(sums, weight)
    end
  end
  if #counted == 0 then return end
  try_call('HDEL', weights, unpack(counted))
  for field, sum in pairs(sums) do
    if (try_call('HINCRBY', weights, field, -sum) or 0) <= 0 then try_call('HDEL', weights, field) end
  end
end
