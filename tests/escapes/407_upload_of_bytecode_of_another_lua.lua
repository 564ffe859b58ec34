-- expect: syntax-error detail~"bytecode"
-- upload: hex
1b4c75615300
