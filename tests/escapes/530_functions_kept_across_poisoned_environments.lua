-- expect: 200 body="contained"
local f = load("local a = ... return function() return a, b end", "=x", "t", { b = 2 })(1)
local one, two = f()
assert(one == 1 and two == 2)
local env = setmetatable({}, { __index = function(_, name) return name end })
assert(load("return debug, io, python", "=x", "t", env)() == "debug")
local holder <const> = load("return function(...) _ENV = ... return x end", "=x", "t", {})()
assert(holder({ x = 5 }) == 5)
return "contained"
