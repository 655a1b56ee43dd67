-- Lua function for the scripts that end jobs: counts jobs of one kind, in all and in this minute.
--@ parts platform/try_call
local function count_ended(counts, minute, minute_ttl, kind, number)
  try_call('HINCRBY', counts, kind, number)
  -- The first write of a minute has a kind, which is new then.
  if try_call('HINCRBY', minute, string.sub(kind, 1, 1), number) == number then try_call('EXPIRE', minute, minute_ttl) end
end
