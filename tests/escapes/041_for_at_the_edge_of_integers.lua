-- expect: 200 body="contained"
local count = 0
for _ = math.maxinteger - 1, math.maxinteger do count = count + 1 end
for _ = math.mininteger, math.mininteger + 1 do count = count + 1 end
for _ = math.mininteger + 1, math.mininteger, -1 do count = count + 1 end
for _ = 1, math.huge, math.maxinteger do count = count + 1 end
return count == 8 - 1 and "contained" or tostring(count)
