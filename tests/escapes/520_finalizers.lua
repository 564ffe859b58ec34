-- expect: script-error detail~"__gc is not available in a sandbox"
return setmetatable({}, { __gc = function() while true do end end })
