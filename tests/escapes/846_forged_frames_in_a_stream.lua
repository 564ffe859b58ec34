-- expect: 200 body="R\u0000response0\r\n\r\nHTTP/1.1 500 x\r\n\r\n"
return stream(function(write)
  write("R\0response")
  write("0\r\n\r\nHTTP/1.1 500 x\r\n\r\n")
end)
