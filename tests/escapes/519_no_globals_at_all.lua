-- expect: 200 body="still there"
local globals = _G
for name in pairs(globals) do globals[name] = nil end
_ENV = nil
return "still there"
