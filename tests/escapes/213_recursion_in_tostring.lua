-- expect: script-error detail~"stack overflow"
local t = setmetatable({}, { __tostring = function(t) return "x" .. tostring(t) end })
return tostring(t)
