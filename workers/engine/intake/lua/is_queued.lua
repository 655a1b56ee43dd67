-- KEYS: a queue. ARGV: a message. Returns its position, nil if it isn't there; searches from the head of the queue.

return redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1)
