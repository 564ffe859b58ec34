-- expect: 200 body="contained"
-- No value of ours gives its metatable away, and none has one that a script could change.
local seen, protected = {}, 0
local function walk(value, path)
  if type(value) ~= "table" or seen[value] then return end
  seen[value] = true
  local meta = getmetatable(value)
  assert(meta == nil or meta == false, path)
  if meta == false then
    protected = protected + 1
    assert(not pcall(setmetatable, value, {}), path)
    assert(not pcall(setmetatable, value, nil), path)
  end
  for key, inner in next, value do walk(key, path) walk(inner, path .. "." .. tostring(key)) end
end
walk(_G, "_G")
walk(request, "request")
walk(request.headers, "request.headers")
walk(json.decode("[[]]"), "array")
return protected > 3 and "contained" or tostring(protected)
