-- expect: 200 body="m m.lua"
-- files: "m.lua"="return table.concat({ ... }, ' ')"
return require "m"
