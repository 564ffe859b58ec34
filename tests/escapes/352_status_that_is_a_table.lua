-- expect: bad-response detail~"status must be an integer"
return { status = setmetatable({}, { __eq = function() return true end, __lt = function() return true end }) }
