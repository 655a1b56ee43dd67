-- A message's own tag, the same each time that it is fetched. The last one in it is kombu's; one before
-- it is in a header of the sender's own. (Anchored: otherwise a long message without one costs quadratic time.)
-- Printable ASCII, which is what JSON writes: other bytes could not be read, nor what was fetched with them.
local function tag_of(message)
  return string.match(message, '^.*"delivery_tag": ?"([!#-~]+)"') or redis.sha1hex(message)
end
