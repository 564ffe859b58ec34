-- expect: 304 body=""
return { status = 304, body = "HTTP/1.1 200 OK\r\nx-smuggled: 1\r\n\r\n" }
