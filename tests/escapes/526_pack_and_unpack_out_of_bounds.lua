-- expect: 200 body="contained"
for _, layout in ipairs{ "i17", "!17", "i0", "s17", "c", "X", "Xc", "!3i4", "j99", "<>=!", "z", "s4", "I16", ("i16"):rep(300), "c2147483648" } do
  local done, answer = pcall(string.unpack, layout, ("\255"):rep(64))
  assert(done or type(answer) == "string", layout)
  done, answer = pcall(string.unpack, layout, "", math.mininteger)
  assert(done or type(answer) == "string", layout)
  pcall(string.pack, layout, 1)
end
assert(not pcall(string.unpack, "s4", "\255\255\255\127x"))
assert(not pcall(string.unpack, "s8", ("\255"):rep(8)))
assert(not pcall(string.unpack, "i4", "abcd", 2) and not pcall(string.unpack, "i4", "abcd", math.maxinteger))
return "contained"
