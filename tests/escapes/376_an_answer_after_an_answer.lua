-- expect: 200 body="closed"
local answer = { body = "open" }
local _ <close> = setmetatable({}, { __close = function() answer.body = "closed" end })
return answer
