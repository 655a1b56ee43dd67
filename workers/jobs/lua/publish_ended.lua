-- Lua function of a list of ids, and of their records or nil: publishes that these jobs have ended, for the processes that
-- wait for them. Records that have at most so many bytes together follow their ids, so that they need not be read; then
-- the message begins with the separator. Releases that expect ids alone skip records: they are no job's id.
-- Ids that could be taken for something else, which only another program can have made, are left out.
--@ constants workers.keys ENDED_CHANNEL ENDED_SEPARATOR
local function publish_ended(ids, records, most_bytes)
  local names, with_records, size = {}, {''}, 0
  for i, id in ipairs(ids) do
    if id ~= '' and not string.find(id, ENDED_SEPARATOR, 1, true) then
      names[#names + 1] = id
      if records then
        size = size + #records[i]
        if size > most_bytes or string.find(records[i], ENDED_SEPARATOR, 1, true) then records = nil end
      end
      if records then with_records[#with_records + 1], with_records[#with_records + 2] = id, records[i] end
    end
  end
  if #names == 0 then return end
  redis.call('PUBLISH', ENDED_CHANNEL, table.concat(records and with_records or names, ENDED_SEPARATOR))
end
