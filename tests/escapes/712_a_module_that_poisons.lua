-- expect: 200 body="{\"a\":\"b\"}"
-- files: "poison.lua"="for _, t in ipairs{ string, table, json } do for name in pairs(t) do t[name] = error end end pairs = error return true"
require "poison"
return { a = "b" }
