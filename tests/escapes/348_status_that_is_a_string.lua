-- expect: bad-response detail~"status must be an integer, not a string"
return { status = "200" }
