-- KEYS: weights. Returns how many bytes the messages of unfinished jobs have; 0 where the key is no hash, or may not be read.
--@ constants workers.jobs.weights BYTES
local answers = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('HGET', key, BYTES)
  answers[i] = tonumber(type(found) == 'string' and found or '') or 0
end
return answers
