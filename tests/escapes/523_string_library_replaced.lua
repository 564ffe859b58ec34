-- expect: 200 body="{\"a\":\"B\"}"
-- What the platform needs it holds for itself.
for name in pairs(string) do string[name] = function() error("poisoned") end end
string.__index = nil
return { a = "B" }
