-- expect: bad-response detail~"control character"
return { headers = { ["x-a"] = "b\r\nset-cookie: admin=1" } }
