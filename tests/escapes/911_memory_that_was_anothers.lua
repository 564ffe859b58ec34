-- expect: 200 body="contained"
-- Padding is zeros, a new table is empty, a new string is what it says.
assert(string.pack("!8 i1 i8", 1, 1):sub(2, 8) == ("\0"):rep(7))
assert(string.pack("c64", "x"):sub(2) == ("\0"):rep(63))
assert(string.pack("!16 b Xi16", 1):sub(2) == ("\0"):rep(15))
local t = table.pack(table.unpack({}, 1, 200))
for i = 1, 200 do assert(t[i] == nil) end
for i = 1, 1000 do
  local fresh = {}
  assert(next(fresh) == nil and #fresh == 0)
  assert(#("x"):rep(i) == i and not ("x"):rep(i):find("[^x]"))
end
assert(select("#", (function(...) return ... end)(table.unpack({}, 1, 250))) == 250)
return "contained"
