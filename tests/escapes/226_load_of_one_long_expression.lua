-- expect: 200 body="contained"
for _, unit in ipairs{ "a..", "a^", "- ", "not ", "#", "~", "a..a^-not-#", "(", "{", "a(", "a[", "function() return ", "a and(" } do
  local chunk, reason = load("return " .. unit:rep(100000))
  if chunk or not reason:find("overflow", 1, true) then return unit .. ": " .. tostring(reason):sub(1, 100) end
end
return "contained"
