-- expect: 200 body="contained"
-- Lua up to 5.4.6 read beyond the end of strings with zeros.
local a, b = ("x\0"):rep(1000), ("x\0"):rep(1000) .. "\0"
assert(a < b and not (b < a) and a ~= b and ("\0"):rep(5) < ("\0"):rep(6) and "" < "\0")
table.sort({ a, b, "\0", "", "a\0b", "a\0", "a" })
return "contained"
