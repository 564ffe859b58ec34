-- expect: cpu-limit
-- limits: cpu_ms=300
local function deep() return 1 + deep() end
while true do pcall(deep) end
