-- expect: 200 body="contained"
-- Its values are asked for in a coroutine that never comes back, in one that does, and by a template in a template.
local slow = setmetatable({}, { __index = function(_, key) return coroutine.yield(key) end })
local show = template.compile("{{#list}}{{a}}{{/list}}|{{a}}")
local left = coroutine.create(show)
assert(select(2, coroutine.resume(left, slow)) == "list")
assert(show{ list = { { a = 1 }, { a = 2 } }, a = 3 } == "12|3")
local whole = coroutine.wrap(show)
assert(whole(slow) == "list" and whole({ {} }) == "a" and whole("<") == "a" and whole(7) == "&lt;|7")
local nested = setmetatable({}, { __index = function(_, key) return show{ a = key } end })
assert(template.render("{{{a}}}", nested) == "|a")
local torn = setmetatable({}, { __index = function() error("torn") end })
for _ = 1, 100 do assert(not pcall(show, torn)) end
return show{ a = 4 } == "|4" and "contained"
