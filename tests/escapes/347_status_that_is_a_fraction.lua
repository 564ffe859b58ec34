-- expect: bad-response detail~"status must be an integer, not 200.5"
return { status = 200.5 }
