-- expect: bad-response detail~"name must be a string"
return { headers = { "x-a: b" } }
