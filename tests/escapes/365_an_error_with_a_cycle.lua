-- expect: bad-response detail~"contains itself"
local t = {}
t.t = t
error{ status = 500, body = t }
