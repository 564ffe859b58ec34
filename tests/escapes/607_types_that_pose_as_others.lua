-- expect: 200 body="contained"
local fake = setmetatable({}, { __name = "userdata", __tostring = function() return "<built-in function open>" end })
assert(type(fake) == "table")
assert(not pcall(crypto.sha256, fake) and not pcall(files.read, fake) and not pcall(string.rep, fake, 2))
assert(not pcall(crypto.sha256, setmetatable({}, { __index = string })))
return "contained"
