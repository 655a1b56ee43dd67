-- `try_call` is for what a script does beside its purpose: if a key has the wrong type, or a right is missing, the script
-- goes on. `refused` is the last reason, for the caller.
local refused = ''
local function try_call(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    refused = answer.err
    return false
  end
  return answer
end
