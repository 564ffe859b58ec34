-- expect: 200 body="contained"
-- The last free slots of a stack that is a million slots at most.
local bad, calls, refused = nil, 0, 0
local filler = {}
for i = 1, 240 do filler[i] = i end
local function check(done, answer)
  calls = calls + 1
  if not done then refused = refused + 1 end
  if type(answer) ~= "string" then bad = type(answer) end
end
local function fill(n, ...)
  if n == 0 then
    check(pcall(crypto.sha256, "x"))
    check(pcall(crypto.hmac_sha256, "x", "y"))
    return "end"
  end
  local answer = fill(n - 1, ...)
  return answer
end
for depth = 3800, 4300, 5 do check(pcall(fill, depth, table.unpack(filler))) end
return calls > 100 and refused > 0 and not bad and "contained" or tostring(bad) .. calls .. " " .. refused
