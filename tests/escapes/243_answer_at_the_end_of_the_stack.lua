-- expect: 409 body="{\"deep\":true}"
-- An answer that is thrown where no stack is left is an answer all the same.
local function runaway(a, b, c, d, e, f, g, h) return runaway(a, b, c, d, e, f, g, h) + 1 end
local done, reason = pcall(runaway)
xpcall(runaway, function() error{ status = 418 } end)
error{ status = 409, body = { deep = not done and reason:find("stack overflow", 1, true) ~= nil } }
