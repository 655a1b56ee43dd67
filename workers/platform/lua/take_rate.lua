-- KEYS: when what was taken so far is used up (s). ARGV: seconds for each, seconds that may be taken ahead.
-- Returns how long to wait (s) as text; "0" if it was taken. One number for each name: a generic cell rate limit.
--@ parts platform/now

local used_until_key = KEYS[1]
local each_s, ahead_s = unpack(ARGV)
local used_until = math.max(now, tonumber(redis.call('GET', used_until_key) or '0') or 0) + each_s
local wait = used_until - ahead_s - now
if wait > 1e-6 then return string.format('%.6f', wait) end
redis.call('SET', used_until_key, string.format('%.6f', used_until), 'PX', math.ceil((used_until - now) * 1000) + 1)
return '0'
