-- expect: 200 body="{}"
return setmetatable({}, { __index = { status = 99, headers = { a = "\r\n" }, body = "x" } })
