-- expect: bad-response detail~"status must be an integer"
return { status = 0 / 0 }
