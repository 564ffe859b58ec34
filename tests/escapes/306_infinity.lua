-- expect: bad-response detail~"infinity cannot be JSON"
return { body = -math.huge }
