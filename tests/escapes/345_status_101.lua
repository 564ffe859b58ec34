-- expect: bad-response detail~"200 to 599"
return { status = 101, headers = { ["x-a"] = "b" } }
