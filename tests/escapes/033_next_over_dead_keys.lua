-- expect: cpu-limit
-- limits: cpu_ms=100
local t = {}
for i = 1, 300000 do t[-i] = true end
while true do
  local key = next(t)
  t[key] = nil
end
