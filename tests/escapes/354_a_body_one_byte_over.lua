-- expect: bad-response detail~"1001 bytes, over the limit of 1000"
-- limits: response_bytes=1000
return ("x"):rep(1001)
