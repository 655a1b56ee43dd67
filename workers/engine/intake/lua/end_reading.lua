-- KEYS: reading. ARGV: message. Removes all names, also those of lost readers: the message has proved to be readable.
--@ parts platform/even_if_full

redis.call('HDEL', KEYS[1], ARGV[1])
