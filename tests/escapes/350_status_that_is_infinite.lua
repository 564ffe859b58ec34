-- expect: bad-response detail~"status must be an integer"
return { status = math.huge }
