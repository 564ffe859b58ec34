-- expect: 200 body="contained"
assert(getmetatable("") == false)
assert(not pcall(setmetatable, "", {}))
assert(not pcall(function() getmetatable("").__index = {} end))
assert(not pcall(rawset, "", "x", 1) and not pcall(rawget, "", "x"))
return "contained"
