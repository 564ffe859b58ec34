-- expect: 200 body="contained"
-- Lua looks for __gc when the metatable is set, and nowhere else.
local ran = false
local meta = {}
local object = setmetatable({}, meta)
meta.__gc = function() ran = true end
object = nil
local hidden = setmetatable({}, { __index = { __gc = function() ran = true end } })
pcall(setmetatable, {}, hidden)
local junk = {}
for i = 1, 200000 do junk[i % 100] = { i } end
assert(not pcall(setmetatable, {}, meta))
assert(not pcall(setmetatable, {}, { __gc = true }) and not pcall(setmetatable, {}, { __gc = false }))
return ran and "it ran" or "contained"
