-- expect: script-error detail~"C stack overflow"
local function deep() return (("x"):gsub(".", deep)) end
return deep()
