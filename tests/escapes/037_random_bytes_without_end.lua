-- expect: cpu-limit
-- limits: cpu_ms=100
while true do pcall(crypto.random_bytes, 65536) end
