-- expect: 200 body="contained"
for _, name in ipairs{
  "io", "os", "debug", "package", "_G", "string", "ffi", "lupa", "python", "prelude.host", "prelude/host", "sandbox.lua",
  "../main", "..main", "/etc/passwd", "....etc.passwd", "main.lua", "", ".", "\0", "main\0", ("a"):rep(100000), 5, 1.5,
} do
  local done, reason = pcall(require, name)
  if done or type(reason) ~= "string" or not reason:find("not found", 1, true) or #reason > 500 then
    return tostring(name) .. ": " .. tostring(reason)
  end
end
for _, name in ipairs{ {}, print, true } do assert(not pcall(require, name)) end
return "contained"
