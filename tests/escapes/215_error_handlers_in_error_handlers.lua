-- expect: 200 body="contained"
local function handler(message) return select(2, xpcall(error, handler, message)) end
local done = xpcall(error, handler, "x")
return done == false and "contained" or "?"
