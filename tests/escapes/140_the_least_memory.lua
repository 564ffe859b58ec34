-- expect: memory-limit
-- limits: memory_bytes=524288
return ("x"):rep(400000)
