-- expect: 200 body="contained"
local function send() return (jobs.send("escape", 1, { key = "one" })) end
local first = send()
assert(coroutine.wrap(send)() == first)
local found
table.sort({ 3, 2, 1 }, function(a, b) found = send() return a < b end)
assert(found == first)
found = (("x"):gsub("x", send))
assert(found == first)
local object = setmetatable({}, { __tostring = send, __close = send, __index = send })
assert(tostring(object) == first and object.x == first)
do local _ <close> = object end
xpcall(error, send)
error{ status = 200, body = jobs.cancel(first) and not jobs.cancel(first) and "contained" or "not cancelled" }
