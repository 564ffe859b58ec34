-- expect: script-error
error("\0\xff\r\n\27[31mred\27[0m\0", 0)
