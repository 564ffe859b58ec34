-- expect: script-error detail~"not found"
-- files: "a.lua"="local name = ... return require(name .. '.a')" "a/a.lua"="local name = ... return require(name .. '.a')"
return require "a"
