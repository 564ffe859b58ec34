-- expect: 200 body="contained"
local t = setmetatable({}, { __metatable = { __gc = true } })
assert(not pcall(setmetatable, t, {}))
local u = setmetatable({}, { __metatable = false })
assert(getmetatable(u) == false and not pcall(setmetatable, u, nil))
return "contained"
