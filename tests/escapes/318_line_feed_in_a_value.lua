-- expect: bad-response detail~"control character"
return { headers = { ["x-a"] = "b\nset-cookie: admin=1" } }
