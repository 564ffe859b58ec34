-- expect: 200 body="contained"
local depth = 0
local function deep()
  depth = depth + 1
  return pcall(deep)
end
deep()
return depth > 100 and depth < 100000 and "contained" or tostring(depth)
