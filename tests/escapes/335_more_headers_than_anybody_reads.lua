-- expect: bad-response detail~"headers"
local headers = {}
for i = 1, 101 do headers["x-" .. i] = "a" end
return { headers = headers }
