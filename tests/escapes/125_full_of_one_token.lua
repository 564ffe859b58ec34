-- expect: 200 body="not enough memory"
-- limits: memory_bytes=8388608
return select(2, load(function() return ("x"):rep(10000) end))
