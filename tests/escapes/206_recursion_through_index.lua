-- expect: script-error detail~"C stack overflow"
local t = setmetatable({}, { __index = function(t, key) return t[key .. "x"] end })
return t.a
