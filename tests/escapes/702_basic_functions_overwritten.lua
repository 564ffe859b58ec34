-- expect: 200 body="[\"x\"]"
for _, name in ipairs{ "pairs", "ipairs", "next", "type", "tostring", "tonumber", "select", "rawget", "rawset", "rawlen",
  "rawequal", "setmetatable", "getmetatable", "pcall", "xpcall", "assert", "load", "error", "print", "require" } do
  _G[name] = function() while true do end end
end
return { "x" }
