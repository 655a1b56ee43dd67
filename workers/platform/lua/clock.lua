-- Lua function: the time (s) by Redis's clock, or `otherwise` if the user may not run TIME (as in the documented rights
-- of earlier releases).
local function clock(otherwise)
  local time = redis.pcall('TIME')
  return time[1] and time[1] + time[2] / 1e6 or tonumber(otherwise)
end
