-- A Lua function for what a script does beside its purpose: where a key of the wrong type doesn't let it, or a missing
-- right, the rest is done all the same. `refused` is the last reason, for the caller.
local refused = ''
local function aside(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    refused = answer.err
    return false
  end
  return answer
end
