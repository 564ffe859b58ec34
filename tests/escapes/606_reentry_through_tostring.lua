-- expect: 200 body="contained"
-- A log line whose words log.
local depth = 0
local t
t = setmetatable({}, { __tostring = function() depth = depth + 1 if depth < 50 then print(t) end return "x" end })
print(t)
local spoken = setmetatable({}, { __tostring = function() error({ not_text = true }) end })
assert(not pcall(print, spoken))
assert(not pcall(print, setmetatable({}, { __tostring = function() return 5 < 6 end })))
local co = coroutine.wrap(function() print(setmetatable({}, { __tostring = coroutine.yield })) return "done" end)
co()
co("resumed")
return "contained"
