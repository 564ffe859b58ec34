-- expect: bad-response detail~"is no name of a header"
return { headers = { ["x-a: b\r\nset-cookie"] = "admin=1" } }
