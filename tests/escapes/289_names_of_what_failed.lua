-- expect: 200 body="contained"
-- The search for the name of a failing value recursed over moves, up to 5.4.6.
local source = { "local a = ... local b, c, d" }
for _ = 1, 20000 do source[#source + 1] = " b = a c = b d = c a = d.x" end
local done, reason = pcall(assert(load(table.concat(source))), nil)
assert(not done and type(reason) == "string")
done, reason = pcall(assert(load("local _ENV = _ENV.x " .. (" local function f() return _ENV end _ENV = f() "):rep(50) .. "y()")))
assert(not done and type(reason) == "string")
return "contained"
