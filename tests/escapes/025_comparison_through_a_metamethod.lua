-- expect: cpu-limit
-- limits: cpu_ms=100
local odd = setmetatable({}, { __lt = function() while true do end end })
return odd < odd
