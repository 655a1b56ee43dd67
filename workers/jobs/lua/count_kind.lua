-- Lua function for the scripts that end jobs: counts jobs of one kind, in all and in this minute.
--@ parts platform/aside
local function count_kind(counts, minute, minute_ttl, kind, number)
  aside('HINCRBY', counts, kind, number)
  -- The first write of a minute has a kind, which is new then.
  if aside('HINCRBY', minute, string.sub(kind, 1, 1), number) == number then aside('EXPIRE', minute, minute_ttl) end
end
