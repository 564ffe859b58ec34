-- expect: 200 body="contained"
local function refused(source)
  local chunk, reason = load(source)
  return chunk == nil and type(reason) == "string"
end
assert(refused("return function(...) local a " .. ("= ... local b"):rep(300) .. " end"))
local names = {}
for i = 1, 256 do names[i] = "a" .. i end
assert(refused("local " .. table.concat(names, ",")))
assert(refused("return f(" .. table.concat(names, ",") .. ")"))
assert(refused("local function f() " .. ("local x "):rep(201) .. " end"))
return "contained"
