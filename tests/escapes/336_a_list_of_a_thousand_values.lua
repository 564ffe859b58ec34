-- expect: bad-response detail~"headers"
local values = {}
for i = 1, 1000 do values[i] = "a=" .. i end
return { headers = { ["set-cookie"] = values } }
