-- expect: 200 body="contained"
-- Lua up to 5.4.6 could use an old stack, or overflow a length, while it joined many values.
local deep
local t = setmetatable({}, { __concat = function(a, b) return deep(200) end })
function deep(n) if n == 0 then return "x" end return (deep(n - 1)) end
for _ = 1, 100 do
  local joined = coroutine.wrap(function() return "a" .. t .. "b" .. t .. 1 .. 2.5 .. t end)()
  assert(type(joined) == "string")
end
local big = ("x"):rep(1 << 20)
local done = pcall(load("local a = ... return a" .. (" .. a"):rep(200)), big)
assert(not done or true)
return "contained"
