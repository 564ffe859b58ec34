-- expect: 200 body="contained"
-- binding: probe
local closed = {}
local function closing(name)
  return setmetatable({}, { __close = function(_, reason)
    closed[#closed + 1] = probe("probe.echo", name .. (reason and "!" or ""))
  end })
end
do local _ <close> = closing("end") end
pcall(function() local _ <close> = closing("error") error("x") end)
local co = coroutine.create(function() local _ <close> = closing("close") coroutine.yield() end)
coroutine.resume(co)
coroutine.close(co)
for _ in function() end, nil, nil, closing("for") do end
local function late() local _ <close> = closing("return") return "x" end
late()
return table.concat(closed, " ") == "end error! close for return" and "contained" or table.concat(closed, " ")
