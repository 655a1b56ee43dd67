-- Lua functions for the scripts that look at a record. What is no string stands where a record should: it is one that
-- can't be read, and is written over.
local function record_of(key)
  local record = redis.pcall('GET', key)
  if type(record) == 'table' then return '' end
  return record
end
local function status_of(record)
  return record and (string.match(record, '^{"status": ?"(%u+)"') or 'UNREADABLE')
end
local function terminal(status)
  return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end
