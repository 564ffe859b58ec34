-- expect: 200 body="not gzip"
return { headers = { ["content-encoding"] = "gzip" }, body = "not gzip" }
