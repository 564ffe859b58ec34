-- expect: bad-response detail~"header 'x-a' is"
return { headers = { ["x-a"] = 0 / 0 } }
