-- expect: 200 body="contained"
-- files: "bad.lua"="tries = (tries or 0) + 1 if tries < 3 then error('again') end return 'third'"
assert(not pcall(require, "bad") and not pcall(require, "bad"))
return require "bad" == "third" and tries == 3 and "contained" or "?"
