-- expect: 200 body="contained"
-- binding: probe
local calls = 0
local function ask() calls = calls + 1 return (probe("probe.echo", "x")) end
local list = {}
for i = 1, 50 do list[i] = (i * 7) % 50 end
table.sort(list, function(a, b) ask() return a < b end)
pcall(table.sort, list, function() ask() return true end)
assert((("xx"):gsub(".", ask)) == "xx")
local t = setmetatable({}, {
  __index = ask, __newindex = ask, __concat = ask, __call = ask, __tostring = ask, __close = ask, __unm = ask,
  __eq = ask, __lt = ask, __len = function() return #ask() end, __pairs = ask,
})
assert(t.x and t .. "x" and #t == 1 and t() and tostring(t) and -t and t < {})
do local _ <close> = t end
assert(load(coroutine.wrap(function() ask() coroutine.yield("return 1") ask() end))() == 1)
xpcall(error, ask)
print(t)
return calls > 100 and "contained" or tostring(calls)
