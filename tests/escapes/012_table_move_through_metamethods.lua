-- expect: cpu-limit
-- limits: cpu_ms=100
local void = setmetatable({}, { __index = function() return 1 end, __newindex = function() end })
table.move(void, 1, math.maxinteger - 1, 1)
