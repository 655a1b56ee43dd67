-- The next message of a queue at a turn, and the list that it was in. Of the lists of a priority another one goes first in
-- each round, so that none of them starves either. `empty` notes what was found so: nothing comes during a script.
--@ constants workers.queues.naming LISTS
--@ constants workers.queues.priorities ORDERS ROUND
local lists, orders = LISTS, ORDERS
local refused = nil

-- A key that is no list is an empty queue, so that the others are read.
local function next_of(list)
  local message = redis.pcall('RPOP', list)
  if type(message) ~= 'table' then return message end
  refused = message.err
  return false
end

local function names(queue, priority, found)
  for _, suffix in ipairs(lists[priority]) do found[#found + 1] = queue .. suffix end
  return found
end

local function pop_priority(queue, priority, turn, empty)
  local suffixes = lists[priority]
  for i = 0, #suffixes - 1 do
    local list = queue .. suffixes[(math.floor(turn / ROUND) + i) % #suffixes + 1]
    local message = not empty[list] and next_of(list)
    if message then return message, list end
    empty[list] = true
  end
end

local function pop(queue, turn, empty)
  for _, priority in ipairs(orders[turn % ROUND + 1]) do
    local message, list = pop_priority(queue, priority, turn, empty)
    if message then return message, list end
  end
end
