-- expect: 200 body="{}"
local seen = {}
for name, value in pairs(env) do seen[name] = value end
return { body = seen }
