-- expect: bad-response detail~"$.me: a table that contains itself cannot be JSON"
local t = {}
t.me = t
return t
