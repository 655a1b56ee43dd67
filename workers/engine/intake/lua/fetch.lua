-- KEYS: leased, turns, queues. ARGV: seconds, bytes after which no more are taken, then of each queue how
-- many to take, how many more while some of high priority wait, and '1' if a job that is taken alone is claimed, too;
-- last the size of a large message (bytes), the holder, and for claims the `result` of their records, when they begin
-- (s) and seconds to live.
-- Returns two lists. The first: index of the queue, tag, message (nil for a large one); again and again; of a queue that
-- can't be read with no tag, and the reason in the message's place. The second: the tags of claimed jobs, which are ids.
-- Where normal jobs alone wait, turns are not counted, and each job is one RPOP.
-- Each lease ends a microsecond after the one before it, so that `expire_leases` knows their order.
--@ parts platform/now queues/leases engine/intake/message_tag engine/intake/pop_by_turns jobs/claim_fetched

local leased, turns = unpack(KEYS, 1, 2)
local lease_s, most_bytes = unpack(ARGV, 1, 2)
local large_bytes, holder, attempt, started_at, ttl_s = unpack(ARGV, #ARGV - 4)
local taken, tags, times, left, alone, claimed = {}, {}, {}, tonumber(most_bytes), {}, {}
for i = 3, #KEYS do
  local queue, wanted, more = KEYS[i], tonumber(ARGV[3 * i - 6]), tonumber(ARGV[3 * i - 5])
  local before = #tags
  local several = redis.call('EXISTS', unpack(names(queue, 'low', names(queue, 'high', {})))) > 0
  local turn, empty = several and tonumber(redis.call('HGET', turns, queue) or 0), {}
  local function wants()
    if wanted > 0 or more <= 0 or not several then return wanted > 0 end
    return redis.call('EXISTS', unpack(names(queue, 'high', {}))) > 0
  end
  while left > 0 and wants() do
    local message, list = nil, queue
    if several then
      message, list = pop(queue, turn + 1, empty)
      -- Where none is left no turn was had: the next one of its priority would come too soon.
      if message then turn = turn + 1 end
    else
      message = next_of(queue)
    end
    if not message then break end
    local tag = tag_of(message)
    local n = #taken
    tags[#tags + 1], times[#times + 1] = tag, now + lease_s + n / 3e6
    redis.call('HSET', leased, tag, list .. '\n' .. message)
    taken[n + 1], taken[n + 2], taken[n + 3] = i - 3, tag, #message <= tonumber(large_bytes) and message
    left = left - #message
    if wanted > 0 then wanted = wanted - 1 else more = more - 1 end
  end
  if several then redis.call('HSET', turns, queue, turn) end
  if #tags == before + 1 and ARGV[3 * i - 4] == '1' and taken[#taken] then alone[#alone + 1] = tags[#tags] end
  if refused then
    local n = #taken
    taken[n + 1], taken[n + 2], taken[n + 3] = i - 3, '', refused
    refused = nil
  end
end
grant(holder, tags, times)
for _, tag in ipairs(alone) do
  if claim_fetched(tag, attempt, started_at, ttl_s) then claimed[#claimed + 1] = tag end
end
return {taken, claimed}
