-- expect: syntax-error detail~"bytecode"
-- files: "util.lua"="\u001bLuaT"
return require "util"
