-- expect: 200 body="contained"
for _, name in ipairs{
  "debug", "io", "package", "dofile", "loadfile", "collectgarbage", "warn", "module", "setfenv", "getfenv", "loadstring",
  "unpack", "newproxy", "jit", "ffi", "bit32", "python", "lupa", "arg", "gcinfo", "raw_host", "modules", "_ENV",
} do
  if _G[name] ~= nil or rawget(_G, name) ~= nil then return name end
end
return "contained"
