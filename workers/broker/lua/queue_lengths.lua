-- KEYS: queues. Returns for each how many wait in it and in those beside it, of all priorities, and when the oldest
-- of those that are next was submitted ("" if unknown, e.g. for a malformed message or one with an `eta`); the script
-- extracts the time, so that a large message is not transferred for it.
--@ constants workers.queues.naming LISTS
--@ constants workers.keys SUBMITTED_AT_HEADER

local answers = {}
for _, queue in ipairs(KEYS) do
  local depth, oldest = 0, ''
  for _, suffixes in pairs(LISTS) do
    for _, suffix in ipairs(suffixes) do
      local length = redis.pcall('LLEN', queue .. suffix)
      -- A key that is no list is an empty queue.
      if type(length) == 'number' and length > 0 then
        local head = redis.call('LINDEX', queue .. suffix, -1)
        local at = string.match(head, '"' .. SUBMITTED_AT_HEADER .. '": ?([%d.]+)')
        if string.find(head, '"eta": ?"') then at = nil end
        if tonumber(at or '') and (oldest == '' or tonumber(at) < tonumber(oldest)) then oldest = at end
        depth = depth + length
      end
    end
  end
  answers[#answers + 1] = depth
  answers[#answers + 1] = oldest
end
return answers
