-- Lua function that adds the weight of a job to sums; returns false if the text is not a weight.
local function add_weight(sums, weight)
  local bytes, priority, owner = string.match(weight, '^(%d+) (%S+) (.*)$')
  if not bytes then return false end
  local function add(field, more) sums[field] = (sums[field] or 0) + more end
  add(' bytes', bytes)
  if owner ~= '' then
    add(' jobs ' .. owner, 1)
    add(' bytes ' .. owner, bytes)
    if priority == 'high' then add(' high ' .. owner, 1) end
  end
  return true
end
