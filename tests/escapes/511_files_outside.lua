-- expect: 200 body="contained"
for _, path in ipairs{
  "/etc/passwd", "../../etc/passwd", "./main.lua", "/main.lua", "main.lua\0", "sandbox/lua.py", "", ".", "..", "/proc/self/environ",
  "MAIN.LUA", "file:///etc/passwd", ("../"):rep(10000) .. "etc/passwd",
} do
  local done, reason = pcall(files.read, path)
  if done or not reason:find("this version has no file", 1, true) or #reason > 500 then return path .. ": " .. tostring(reason) end
end
return files.read("main.lua"):find("contained", 1, true) and "contained" or "?"
