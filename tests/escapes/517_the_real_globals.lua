-- expect: 200 body="contained"
assert(_G._G == _G and _ENV == _G)
assert(load("return _ENV")() == _G)
assert(load("return _G")() == _G)
assert(load("return debug or io or package")() == nil)
assert(load("return _ENV", "=x", "t", nil)() == nil)
local own = {}
assert(load("x = 1 return _ENV", "=x", "t", own)() == own and own.x == 1)
assert(select(2, pcall(load("return print", "=x", "t", nil))) ~= print)
return "contained"
