-- expect: syntax-error
-- files: "util.lua"="# a first line\n\u001bLua"
return require "util"
