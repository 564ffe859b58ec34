-- expect: 205
return { status = 205, body = "HTTP/1.1 200 OK\r\nx-smuggled: 1\r\n\r\n" }
