-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
local done, reason = coroutine.resume(coroutine.create(function()
  local t = {}
  for i = 1, 1e9 do t[i] = { i } end
end))
return not done and reason == "not enough memory" and "contained" or tostring(reason)
