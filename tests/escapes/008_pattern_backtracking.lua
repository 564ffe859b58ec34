-- expect: cpu-limit
-- limits: cpu_ms=100
-- One call into C, in which no debug hook would ever run.
return ("a"):rep(3000):find((".-"):rep(20) .. "b")
