-- expect: cpu-limit
-- limits: cpu_ms=100
while true do for _ in ("x"):rep(1000):gmatch("") do end end
