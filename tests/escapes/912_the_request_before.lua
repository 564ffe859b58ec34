-- expect: 200 body="contained"
-- again: same
-- request: method="POST" header.x-secret="of this caller" body="of this body"
local function absent(name) return rawget(_G, name) == nil end
assert(absent("left") and absent("last_request"))
left, last_request = request.body, request
rawset(json, "left", request.headers)
return rawget(string, "left") == nil and "contained" or "?"
