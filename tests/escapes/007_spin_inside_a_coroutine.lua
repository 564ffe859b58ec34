-- expect: cpu-limit
-- limits: cpu_ms=100
coroutine.resume(coroutine.create(function() pcall(function() while true do end end) end))
