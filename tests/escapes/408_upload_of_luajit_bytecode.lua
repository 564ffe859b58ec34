-- expect: syntax-error detail~"bytecode"
-- upload: hex
1b4c4a02080000
