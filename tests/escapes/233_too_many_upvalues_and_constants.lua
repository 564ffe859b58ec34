-- expect: 200 body="contained"
local source = {}
for outer = 1, 2 do
  source[#source + 1] = "local function f" .. outer .. "() "
  for i = 1, 150 do source[#source + 1] = "local v" .. outer .. "_" .. i .. " = 1 " end
end
source[#source + 1] = "return function() return 0 "
for outer = 1, 2 do for i = 1, 150 do source[#source + 1] = " + v" .. outer .. "_" .. i end end
source[#source + 1] = " end end end"
local chunk, reason = load(table.concat(source))
assert(chunk == nil and reason:find("upvalues", 1, true), reason)
local constants = {}
for i = 1, 70000 do constants[i] = i + 0.5 end
local sum = assert(load("local t = {" .. table.concat(constants, ",") .. "} return #t, t[70000]"))
local count, last = sum()
assert(count == 70000 and last == 70000.5)
return "contained"
