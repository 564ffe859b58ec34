-- expect: cpu-limit or 200
-- because: how often the depths can fail before the CPU limit depends on the machine
-- limits: cpu_ms=300
local function deep() pcall(deep) pcall(deep) end
deep()
return "contained"
