-- expect: bad-response detail~"the server's to set"
return { headers = { ["Transfer-Encoding"] = "chunked" }, body = "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" }
