-- expect: 200 body="contained"
setmetatable(_G, { __index = function(_, name) return name end, __newindex = function() error("no") end })
assert(undefined == "undefined" and not pcall(load("x = 1")))
return "contained"
