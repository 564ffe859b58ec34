-- expect: syntax-error detail~"overflow"
-- upload: repeat 40000
local function a(...) 
