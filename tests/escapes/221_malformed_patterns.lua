-- expect: 200 body="contained"
for _, pattern in ipairs{ "%", "[", "[^", "[a-", "[%", "%b", "%bx", "%f", "(", ")", "(()", "%1", "%0", "[]", "[]]", "%f[" } do
  local done, reason = pcall(string.find, "text", pattern)
  if not done and type(reason) ~= "string" then return pattern end
  pcall(string.gsub, "text", pattern, "%9")
  pcall(string.gsub, "text", "(t)", pattern)
end
return "contained"
