-- expect: bad-response detail~"headers must be a table"
return { headers = "x-a: b" }
