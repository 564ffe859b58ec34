-- expect: 200 body="\u0000\u0001\r\n\u007f\u0080\u00fe\u00ff\u001b" header.content-length="9"
return "\0\1\r\n\127\128\254\255\27"
