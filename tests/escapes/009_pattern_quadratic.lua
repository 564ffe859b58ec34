-- expect: cpu-limit
-- limits: cpu_ms=100
return ("("):rep(400000):find("%b()")
