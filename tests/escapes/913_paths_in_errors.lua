-- expect: script-error detail="main.lua:3: gone"
local function fail() error("gone", 2) end
fail()
