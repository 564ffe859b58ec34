-- expect: 200 body=""
-- request: method="HEAD"
return "HTTP/1.1 200 OK\r\nx-smuggled: 1\r\n\r\n"
