-- expect: 200 body="not enough memory"
-- limits: memory_bytes=8388608
local pieces = 0
return select(2, load(function()
  pieces = pieces + 1
  return "a" .. pieces .. "=" .. pieces .. "\n"
end))
