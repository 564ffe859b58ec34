-- expect: cpu-limit
-- limits: cpu_ms=200
-- Lua 5.4 puts the table before its own arguments, again and again, inside one instruction.
local t = {}
setmetatable(t, { __call = t })
return t()
