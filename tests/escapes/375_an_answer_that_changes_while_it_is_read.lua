-- expect: bad-response detail~"control character"
local headers = { ["x-a"] = "fine" }
setmetatable(headers, { __index = function(t, key) rawset(t, key, "late") return "late" end })
headers["x-b"] = "not\nfine"
return { headers = headers }
