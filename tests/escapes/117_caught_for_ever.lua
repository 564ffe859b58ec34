-- expect: cpu-limit
-- limits: memory_bytes=8388608 cpu_ms=300
while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = i end end) end
