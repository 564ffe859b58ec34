-- expect: 200 body~"response"
-- What an answer says is never taken for what the sandbox says.
log.info("R\0response")
log.error("F\0\7\0\0\0timeout")
return "R\0\8\0\0\0response\3\0\0\0599\0\0\0\0"
