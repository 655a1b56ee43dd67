-- Lua functions of leases. `states(holder, tags)` says of each tag 'mine', 'anothers', or false for no lease;
-- `grant(holder, tags, times)` gives leases that run out then; `end_leases(tags)` ends leases of any holder.
-- In parts, because `unpack` takes no more than 7,990 values.
--@ constants workers.keys HOLDERS LEASES LEASED
local function in_parts(values, step)
  for start = 1, #values, 1000 do step(start, math.min(start + 999, #values)) end
end
local function states(holder, tags)
  local found = {}
  in_parts(tags, function(first, last)
    local held = redis.call('HMGET', HOLDERS, unpack(tags, first, last))
    local runs_out_at = redis.call('ZMSCORE', LEASES, unpack(tags, first, last))
    for i = first, last do
      local by, at = string.match(held[i - first + 1] or '', '^(%S+) (%S+)$')
      local until_s = runs_out_at[i - first + 1]
      local mine = until_s and by == holder and tonumber(at) == tonumber(until_s)
      found[i] = until_s and (mine and 'mine' or 'anothers')
    end
  end)
  return found
end
local function grant(holder, tags, times)
  in_parts(tags, function(first, last)
    local leases, holders = {}, {}
    for i = first, last do
      local at = string.format('%.6f', times[i])
      leases[#leases + 1], leases[#leases + 2] = at, tags[i]
      holders[#holders + 1], holders[#holders + 2] = tags[i], holder .. ' ' .. at
    end
    redis.call('ZADD', LEASES, unpack(leases))
    redis.call('HSET', HOLDERS, unpack(holders))
  end)
end
local function end_leases(tags)
  in_parts(tags, function(first, last)
    redis.call('ZREM', LEASES, unpack(tags, first, last))
    redis.call('HDEL', LEASED, unpack(tags, first, last))
    redis.call('HDEL', HOLDERS, unpack(tags, first, last))
  end)
end
local function end_mine(holder, tags)
  local mine, found = {}, states(holder, tags)
  for i, tag in ipairs(tags) do
    if found[i] == 'mine' then mine[#mine + 1] = tag end
  end
  end_leases(mine)
end
