-- KEYS: weights, unfinished. ARGV: most jobs to look at. Removes jobs that have ended, and adds up the others again;
-- with more jobs it does nothing. Returns how many have ended.
--@ parts platform/even_if_full jobs/add_weight

local weights, unfinished = unpack(KEYS)
local most_jobs = ARGV[1]
local count = redis.call('HLEN', weights)
if count == 0 or count > tonumber(most_jobs) then return 0 end
local all, stated, sums, gone = redis.call('HGETALL', weights), {}, {}, {}
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if string.sub(field, 1, 1) == ' ' then
    stated[field] = tonumber(value) or value
  elseif not redis.call('ZSCORE', unfinished, field) or not add_weight(sums, value) then
    gone[#gone + 1] = field
  end
end
if #gone > 0 then redis.call('HDEL', weights, unpack(gone)) end
for field, sum in pairs(sums) do
  if stated[field] ~= sum then redis.call('HSET', weights, field, sum) end
end
for field in pairs(stated) do
  if not sums[field] then redis.call('HDEL', weights, field) end
end
return #gone
