-- expect: cpu-limit
-- limits: cpu_ms=200 host_calls=20
local n = 0
while true do
  n = n + 1
  pcall(time.calendar, n, "Europe/Nowhere" .. n)
end
