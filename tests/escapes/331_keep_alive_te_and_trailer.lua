-- expect: bad-response detail~"the server's to set"
return { headers = { trailer = "x-a", te = "trailers", ["keep-alive"] = "timeout=1000000" } }
