-- expect: 200 body="[null,[]]"
assert(not pcall(function() json.null.x = 1 end))
pcall(rawset, json.null, "x", 1)
pcall(rawset, json.null, 1, "y")
local array = json.array{}
assert(not pcall(setmetatable, array, nil))
return { body = { json.null, json.array{} } }
