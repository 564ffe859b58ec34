-- expect: 200 body="contained"
for _, template in ipairs{ "%", "%E", "%Ea", "%O", "%Q", "%!", "*t%", "!%", ("%c"):rep(100), "%\0", "\0%c", "!*t", "*t" } do
  local done, answer = pcall(os.date, template, 0)
  assert(done or type(answer) == "string", template)
end
for _, moment in ipairs{ math.maxinteger, math.mininteger, 1 << 56, -(1 << 56), 0.5, 1 / 0, 0 / 0, "x", {}, true } do
  local done, answer = pcall(os.date, "%c", moment)
  assert(done or type(answer) == "string")
  pcall(os.time, { year = moment, month = moment, day = moment })
  pcall(time.format, moment)
end
return #os.date(("%c"):rep(100), 0) > 1000 and "contained" or "?"
