-- expect: 200 body="contained"
local turned = setmetatable({}, { __tostring = function() return "turned" end, __name = "x", __len = function() return -1 end })
return stream(function(write)
  for _, it in ipairs{ turned, write, coroutine.create(write), true, stream(write) } do
    assert(not pcall(write, it))
  end
  assert(not pcall(write))
  write("contained")
end)
