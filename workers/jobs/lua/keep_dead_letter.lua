-- KEYS: dead letters, then each letter's own. ARGV: of each letter what is stored, when it was given up, job id.
--@ parts platform/even_if_full

local dead_letters = KEYS[1]
for i = 2, #KEYS do
  local letter, given_up_at, job_id = unpack(ARGV, 3 * i - 5, 3 * i - 3)
  redis.call('SET', KEYS[i], letter)
  redis.call('ZADD', dead_letters, given_up_at, job_id)
end
