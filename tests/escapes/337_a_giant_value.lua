-- expect: bad-response detail~"bytes"
return { headers = { ["x-a"] = ("b"):rep(40000) } }
