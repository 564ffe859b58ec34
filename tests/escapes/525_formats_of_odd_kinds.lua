-- expect: 200 body="contained"
for _, template in ipairs{ "%", "%y", "%#####d", "%.", "%.1000f", "%1000d", "%*d", "%n", "%ls", "%hhd", "%$1d", "%q", "%c", "%s%n%n%n" } do
  local done, text = pcall(string.format, template, 65, 66, 67, 68)
  assert(done or type(text) == "string", template)
end
assert(not pcall(string.format, "%d", "x") and not pcall(string.format, "%d", 1.5) and not pcall(string.format, "%s"))
assert(not pcall(string.format, "%10q", "x") and not pcall(string.format, "%c", {}))
return "contained"
