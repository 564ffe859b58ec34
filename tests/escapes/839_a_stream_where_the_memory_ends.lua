-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
return stream(function(write)
  local held = {}
  local ok, why = pcall(function() for i = 1, 1e9 do held[i] = ("x"):rep(1000) .. i end end)
  assert(not ok and why:find("memory", 1, true))
  pcall(write, "contained")
  held = nil
end)
