-- expect: ok
return { headers = { ["Content-Type"] = "text/plain", ["content-type"] = "text/html" }, body = "which?" }
