-- expect: script-error detail="(error object is a table value)"
local t = {}
t.t = t
error(t)
