-- expect: cpu-limit
-- limits: cpu_ms=100
local half = ("a"):rep(2000000)
return (half .. half):find(half .. "b", 1, true)
