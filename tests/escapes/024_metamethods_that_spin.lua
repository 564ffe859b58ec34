-- expect: cpu-limit
-- limits: cpu_ms=100
local function spin() while true do end end
local meta = { __len = spin, __eq = spin, __lt = spin, __concat = spin, __index = spin, __call = spin, __unm = spin }
return #setmetatable({}, meta)
