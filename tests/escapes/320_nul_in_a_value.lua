-- expect: bad-response detail~"control character"
return { headers = { ["x-a"] = "b\0c" } }
