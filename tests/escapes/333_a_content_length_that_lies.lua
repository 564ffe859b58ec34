-- expect: 200 body="four" header.content-length="4"
return { headers = { ["Content-Length"] = "100000" }, body = "four" }
