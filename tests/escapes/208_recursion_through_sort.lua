-- expect: script-error detail~"C stack overflow"
local function deep() table.sort({ 2, 1 }, function() deep() return true end) end
return deep()
