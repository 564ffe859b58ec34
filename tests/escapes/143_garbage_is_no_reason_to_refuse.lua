-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- More answers than fit, one at a time.
local count = 0
for _ = 1, 300 do
  local bytes = crypto.random_bytes(65536)
  count = count + #bytes
end
return count == 300 * 65536 and "contained" or tostring(count)
