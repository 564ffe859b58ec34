-- expect: 409 body="x"
error(setmetatable({ retry = false, status = 409, body = "x" }, { __index = error, __pairs = error, __len = error }))
