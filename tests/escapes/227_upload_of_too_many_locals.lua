-- expect: syntax-error detail~"too many local variables"
-- upload: repeat 10000
local a 
