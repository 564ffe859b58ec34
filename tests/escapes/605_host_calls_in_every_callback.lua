-- expect: 200 body="contained"
local calls = 0
local function ask() calls = calls + 1 return crypto.sha256("x") end
assert((("x"):gsub(".", ask)) == ask())
table.sort({ 3, 1, 2 }, function(a, b) ask() return a < b end)
local t = setmetatable({}, { __index = ask, __concat = ask, __len = ask, __call = ask, __tostring = ask, __close = ask })
assert(t.x and t .. "x" and #t and t() and tostring(t))
do local _ <close> = t end
assert(load(coroutine.wrap(function() ask() coroutine.yield("return 1") ask() end))() == 1)
xpcall(error, ask)
print(t)
log.info(setmetatable({}, { __tostring = ask }), { t })
for _ in (function() ask() end) do end
return calls > 12 and "contained" or tostring(calls)
