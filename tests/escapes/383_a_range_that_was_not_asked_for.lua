-- expect: 206 body="x"
return { status = 206, headers = { ["content-range"] = "bytes 0-0/99999999999999999999" }, body = "x" }
