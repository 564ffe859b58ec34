-- expect: 204 body=""
return { status = 204, body = "HTTP/1.1 200 OK\r\nx-smuggled: 1\r\n\r\n" }
