-- expect: script-error detail~"main.lua" log~"stack traceback:\n\t[C]: in function 'error'\n\tmain.lua:3: in"
local ok = ("x"):gsub(".", function()
  error("inside")
end)
