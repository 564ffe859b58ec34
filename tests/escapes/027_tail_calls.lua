-- expect: cpu-limit
-- limits: cpu_ms=100
local function forever(...) return forever(...) end
return forever()
