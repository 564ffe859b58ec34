-- expect: cpu-limit
-- limits: cpu_ms=100
return (("x"):rep(1000):gsub(".", function() while true do end end))
