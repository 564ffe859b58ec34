-- expect: script-error detail~"'__index' chain too long"
local t = {}
t.__index = t
return setmetatable(t, t).x
