-- Lua function of a list of ids: publishes that these jobs have ended, for the processes that wait for them.
--@ constants workers.keys ENDED_CHANNEL ENDED_SEPARATOR
local function publish_ended(ids)
  if #ids > 0 then redis.call('PUBLISH', ENDED_CHANNEL, table.concat(ids, ENDED_SEPARATOR)) end
end
