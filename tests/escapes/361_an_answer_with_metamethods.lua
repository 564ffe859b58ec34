-- expect: 200 body="{\"status\":200}"
-- The answer is read raw: none of these runs.
local spin = function() while true do end end
local meta = { __index = spin, __pairs = spin, __len = spin, __tostring = spin, __name = "evil", __metatable = false }
return { body = setmetatable({ status = 200 }, meta) }
