-- expect: bad-response detail~"must be a string, a number or a list"
return { headers = { ["x-a"] = { { "nested" } } } }
